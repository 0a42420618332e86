// Package controller carries the manifests that run drover in a cluster: base is the controller, guard its eviction guard, environments what it needs to
// switch environments, imds is the DaemonSet for clusters without a queue. Each folder is a kustomize base of plain YAML, guard and environments components
// on top of base; Objects reads the same files, so that the binary can apply or print them.
//
// What differs from cluster to cluster is the image and, in the environment of base's one container, AWS_REGION, DROVER_CLUSTER, DROVER_QUEUE and, with
// the components, DROVER_GUARD and DROVER_ENVIRONMENTS.
// Nothing else is a setting here: an overlay patches the rest.
package controller

import (
	"bytes"
	"embed"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// The folders.
const (
	Base         = "base"
	Guard        = "guard"
	Environments = "environments"
	Metadata     = "imds"
)

// Image stands in the manifests for an image that whoever installs drover has built. Nothing of that name can be pulled.
const Image = "registry.invalid/drover"

// Files are the manifests, with a kustomization.yaml to each folder.
//
//go:embed base/*.yaml guard/*.yaml environments/*.yaml imds/*.yaml
var Files embed.FS

// Objects are the objects of a folder, in the order in which they are to be applied: that of its kustomization.yaml.
func Objects(folder string) ([]map[string]any, error) {
	var list struct{ Resources []string }
	if err := read(folder+"/kustomization.yaml", &list); err != nil {
		return nil, err
	}
	var out []map[string]any
	for _, name := range list.Resources {
		text, err := Files.ReadFile(folder + "/" + name)
		if err != nil {
			return nil, fmt.Errorf("manifests: %w", err)
		}
		for i, document := range documents(text) {
			var o map[string]any
			if err := yaml.Unmarshal(document, &o); err != nil {
				return nil, fmt.Errorf("manifest %s/%s, document %d: %w", folder, name, i+1, err)
			}
			out = append(out, o)
		}
	}
	return out, nil
}

func read(file string, into any) error {
	text, err := Files.ReadFile(file)
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("manifest %s: %w", file, err)
	}
	return nil
}

// documents splits a file at its --- lines. What holds comments alone is no document.
func documents(text []byte) [][]byte {
	var out [][]byte
	for _, d := range bytes.Split(append([]byte("\n"), text...), []byte("\n---\n")) {
		for line := range strings.Lines(string(d)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				out = append(out, d)
				break
			}
		}
	}
	return out
}
