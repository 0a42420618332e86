// Command drover brings Kubernetes nodes and takes them away without the people who use the workloads noticing.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
