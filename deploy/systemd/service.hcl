# The service on this machine, in the form of Consul's own service definitions.
service {
  name = "web"
  port = 8080

  # Where others reach this machine. Without it: the address from which the Consul servers are reached.
  # address = "192.0.2.10"

  check {
    http                     = "http://127.0.0.1:8080/health"
    interval                 = "10s"
    timeout                  = "2s"
    failures_before_critical = 2
  }

  connect {
    sidecar_service {
      # The port of the sidecar's mTLS listener, to be opened to the rest of the mesh.
      port = 20000

      proxy {
        upstreams {
          destination_name = "api"
          local_bind_port  = 9191
        }
      }
    }
  }
}
