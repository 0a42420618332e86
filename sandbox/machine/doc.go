// Package machine is the sandbox's EC2 instances seen from Kubernetes: light nodes that register with a real API server,
// keep their lease, and take the pods bound to them through their life. One Manager serves all machines of a sandbox.
//
// Use: New with a client that has no rate limit of its own (rest.Config.QPS = -1), Boot when the cloud says an instance
// runs, Kill the moment the cloud says it is terminated, Remove when a cloud controller would delete the Node. Close ends
// everything, processes included.
//
// # Pods
//
// A pod is simulated unless it asks for real processes. A simulated pod is nothing but time:
//
//	sandbox.drover.dev/pull   image pull, 500ms; none when the image is already on the machine
//	sandbox.drover.dev/ready  start to ready, 1s; "never"
//	sandbox.drover.dev/run    start to exit of its ordinary containers; 5s for the pods of a Job, else never
//	sandbox.drover.dev/exit   the exit code after run, 0
//	sandbox.drover.dev/stop   SIGTERM to exit, 200ms; "never" waits for SIGKILL
//
// Its preStop and postStart count as time when they sleep (the sleep action, or "sleep N" in an exec command) and are
// instant otherwise; its probes are taken to agree with the annotations. All of its times, the grace period included, are
// divided by Options.Speed.
//
// A pod annotated sandbox.drover.dev/process: "true" has each container's command run as a local process, in real time (only
// the image pull is simulated): environment, volumes, hooks and probes are the real thing. Each pod owns a loopback address, and
// its processes have to bind it: POD_IP by fieldRef status.podIP. The API forbids loopback addresses in endpoints, so
// 127.20.3.5 is written 10.20.3.5 there; DialAddress leads back.
//
// There is no mount namespace. Each volume is a real directory, $SANDBOX_MOUNT_<VOLUME> (upper case, _ for -) names it, and a
// mountPath is replaced by it wherever it begins a path in the command, args, environment, working directory, probes and hooks:
// at the start of the string or after white space or one of = : , ; " ' ` ( [ { < > | &. The contents of files are not rewritten.
// A hostPath lives below the machine's own folder, never on the real host path. A claim is a folder of its
// PersistentVolume's name, the same from every machine.
//
// Files are kept in Options.Dir: pods/<namespace>_<name>_<uid>/<container>.log is a container's output, and stays. A pod's
// runAsUser, runAsGroup and fsGroup count when the sandbox is root (the folder has to be open to that user then); otherwise all
// runs as the sandbox does.
//
// # Services
//
// Every machine listens on its node ports and forwards to ready endpoints, as kube-proxy would. ProxyFor gives the same to a
// node that is not a machine of this package.
//
// # Streams
//
// With Options.Streams, kubectl exec, port-forward and logs work for process pods: a command of exec runs where the container's
// probes do, with the same paths rewritten; port-forward dials the pod's own address. The API server finds the machine by its
// ExternalIP, a loopback address, so it has to prefer that over InternalIP. A command goes on when its client leaves, until it or the
// container ends. Terminals (exec -t), attach, and of logs all but tail and limit-bytes are refused in words. Pods on real kubelets
// (sandbox/plane) have none of this: their container runtime says that sessions are not part of the sandbox.
//
// # What it refuses
//
// A process pod that asks for something unknown here (a gRPC probe, an odd volume, an image's own entrypoint) waits with reason
// NotSimulated and a message; it never runs half-understood. Without a word are absent, for every pod: isolation, resource
// limits, cluster DNS and cluster IPs, container events, ephemeral containers, updates of mounted ConfigMaps, rotation of
// mounted tokens.
package machine
