package plane

// soReusePort is missing from package syscall on some Linux architectures; it is
// the same number on all that Go and Kubernetes share.
const soReusePort = 0xf
