package machine

import (
	"fmt"
	"net/http"
	"os"
)

// workloads are what the test binary does when it is run as a pod's process.
var workloads = map[string]func([]string){
	"http": serveHTTP,
}

// serveHTTP answers with its name at the address; /hang never answers.
func serveHTTP(args []string) {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, args[1]) })
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})
	http.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(args[0], nil))
	os.Exit(1)
}
