operator = "write"
acl = "write"
node_prefix "" {
  policy = "write"
}
namespace_prefix "" {
  policy = "write"
  acl = "write"
  node_prefix "" {
    policy = "write"
  }
  service_prefix "" {
    policy = "write"
  }
}
