package plane

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// contextName is the context in every kubeconfig written here, so that a person
// sees at once that this is no real cluster.
const contextName = "drover-sandbox"

// writeKubeconfig writes a file that needs no other: certificates lie in it.
func writeKubeconfig(file, server, caFile string, client keyPair) error {
	var data [3][]byte
	for i, name := range []string{caFile, client.cert, client.key} {
		var err error
		if data[i], err = os.ReadFile(name); err != nil {
			return fmt.Errorf("kubeconfig %s: %w", file, err)
		}
	}
	config := api.Config{
		Clusters:       map[string]*api.Cluster{contextName: {Server: server, CertificateAuthorityData: data[0]}},
		AuthInfos:      map[string]*api.AuthInfo{contextName: {ClientCertificateData: data[1], ClientKeyData: data[2]}},
		Contexts:       map[string]*api.Context{contextName: {Cluster: contextName, AuthInfo: contextName}},
		CurrentContext: contextName,
	}
	text, err := clientcmd.Write(config)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	return nil
}
