package machine

import (
	"context"
	"fmt"
	"net/http"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// workloads are what the test binary does when it is run as a pod's process, or as a sandbox to be killed. Filled by init: TestMain
// reads it, and a literal would be a cycle.
var workloads map[string]func([]string) error

func init() {
	workloads = map[string]func([]string) error{"http": serveHTTP, "sandbox": serveSandbox}
}

// serveHTTP answers with its name at the address; /hang never answers.
func serveHTTP(args []string) error {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, args[1]) })
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})
	http.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return http.ListenAndServe(args[0], nil)
}

// serveSandbox runs one machine with one process that writes its pid into its log.
func serveSandbox(args []string) error {
	client := fake.NewClientset()
	m, err := New(context.Background(), Options{Client: client, Dir: args[0]})
	if err != nil {
		return err
	}
	defer m.Close()
	if _, err := m.Boot(Spec{Name: "n1", InstanceID: "i-1", Zone: "a", InstanceType: "m5.large", NodeIP: "127.57.2.1"}); err != nil {
		return err
	}
	if _, err := client.CoreV1().Pods("default").Create(context.Background(), aProcess("echo $$$$; exec sleep 1000", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	select {} // until killed
}

// runWorkload is for TestMain; false means that this is a test run.
func runWorkload() bool {
	if len(os.Args) < 2 || workloads[os.Args[1]] == nil {
		return false
	}
	if err := workloads[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}
