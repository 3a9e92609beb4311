partition "p1" {
  node_prefix "" {
    policy = "write"
  }
  namespace_prefix "" {
    policy = "write"
    node_prefix "" {
      policy = "write"
    }
    service_prefix "" {
      policy = "write"
    }
  }
}
