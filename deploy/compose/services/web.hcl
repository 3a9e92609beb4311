service {
  name = "web"
  port = 8080

  check {
    name     = "application"
    http     = "http://127.0.0.1:8080/health"
    interval = "2s"
    timeout  = "1s"
  }

  connect {
    sidecar_service {
      port = 20000

      proxy {
        upstreams {
          destination_name = "api"
          local_bind_port  = 9001
        }
      }
    }
  }
}
