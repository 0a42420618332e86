// Package balancer is the sandbox's Elastic Load Balancing with real traffic: for each target group a listener that forwards
// requests to healthy targets, health checks that it runs itself, a load generator that counts what was lost, and the small
// service that answers.
//
// Use: New with a view of the cloud whose target groups leave their health to this package; point a Load at Listener(arn) and read
// its Report when the story is over. Serve is the workload behind it.
//
// Each request gets a connection of its own to the target, and nothing is ever sent twice: a request that a leaving node lost
// must show. Listeners are HTTP/1 in plain text, or plain TCP for groups of that protocol. Rules, stickiness, TLS and cross-zone
// settings are not modelled; a group of another protocol gets no listener, and Listener says why.
package balancer
