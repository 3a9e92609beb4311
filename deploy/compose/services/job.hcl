# A job serves nothing: it has no port and no check, only an upstream.
service {
  name = "job"

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
