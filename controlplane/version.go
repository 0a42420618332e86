package main

import (
	"fmt"
	"runtime"

	etcd "go.etcd.io/etcd/api/v3/version"
	kubernetes "k8s.io/component-base/version"
)

// runVersion prints the versions, one component a line. Kubernetes calls itself
// v0.0.0-master unless the build says otherwise with -ldflags -X.
func runVersion([]string) int {
	fmt.Printf("kubernetes %s\netcd v%s\ngo %s\n", kubernetes.Get().GitVersion, etcd.Version, runtime.Version())
	return 0
}
