// Package crds carries the custom resource definitions of api/v1alpha1, generated into this folder, so that the binary can install them.
// The same files serve kubectl apply -f and the chart.
package crds

import "embed"

// Files are the definitions, one to a file.
//
//go:embed *.yaml
var Files embed.FS
