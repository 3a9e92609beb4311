# Consul in development mode, for a network of containers.
bind_addr      = "0.0.0.0"
advertise_addr = "{{ GetInterfaceIP \"eth0\" }}"
client_addr    = "0.0.0.0"

config_entries {
  bootstrap = [
    {
      # For all proxies: HTTP, and a listener for Prometheus.
      kind = "proxy-defaults"
      name = "global"
      config {
        protocol                   = "http"
        envoy_prometheus_bind_addr = "0.0.0.0:20200"
      }
    },
    {
      # Who may ask api: web and job, and nobody else.
      kind = "service-intentions"
      name = "api"
      sources = [
        { name = "web", action = "allow" },
        { name = "job", action = "allow" },
        { name = "*", action = "deny" },
      ]
    },
  ]
}
