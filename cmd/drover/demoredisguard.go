package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"drover.dev/deploy/controller"
	"drover.dev/fleet"
	"drover.dev/kube"
	"drover.dev/sandbox"
)

// guardLimit is more than the guard needs to begin.
const guardLimit = time.Minute

// underGuard drains the nodes while drover controller guards evictions.
func (d *redisDemo) underGuard(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	folder, err := os.MkdirTemp(d.w.Dir, "guard-")
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	if err := d.installGuard(ctx, address, folder); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	c, err := d.a.startController(ctx, d.w, func(line string) { d.say("drover", "", "%s", line) }, "--guard", "--guard-listen", address.String(), "--guard-cert-dir", folder)
	if err != nil {
		return err
	}
	defer c.stop()
	if err := d.guardAnswers(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-c.gone
		cancel()
	}()
	err = d.w.DrainAll(ctx, sandbox.RedisGroup, drainFirst, d.drained)
	if err == nil {
		err = d.quiet(ctx)
	}
	return errors.Join(err, c.alive())
}

// quietLimit is more than the last move takes after the last pod was evicted: Sentinels are asked to forget one by one, and members a minute later again.
const quietLimit = 3 * time.Minute

// quiet waits until nobody is asked to leave any more and no move is under way: kubectl is done when pods are gone, drover when the stores are whole.
func (d *redisDemo) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	cluster, err := kube.Open(ctx, d.w.Plane.Config())
	if err != nil {
		return err
	}
	for {
		var s fleet.Snapshot
		if err := cluster.Observe(ctx, &s); err != nil {
			return err
		}
		busy := slices.ContainsFunc(s.Stores, func(st fleet.Store) bool { return st.Move != nil }) || slices.ContainsFunc(s.Pods, func(p fleet.Pod) bool { return p.Asked != nil })
		if !busy {
			return nil
		}
		if pause(ctx, time.Second); ctx.Err() != nil {
			return fmt.Errorf("moves are still under way: %w", ctx.Err())
		}
	}
}

// freeAddress is one on this machine where nobody listens, as long as nobody else looks for one.
func freeAddress() (*net.TCPAddr, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return l.Addr().(*net.TCPAddr), l.Close()
}

// installGuard creates the webhook, and a folder with a certificate that the cluster's own CA has issued. There is no network of services here: the API
// server calls the guard at its address.
func (d *redisDemo) installGuard(ctx context.Context, address *net.TCPAddr, folder string) error {
	authority := rest.CopyConfig(d.w.Plane.Config())
	if err := rest.LoadTLSFiles(authority); err != nil {
		return fmt.Errorf("the cluster's CA: %w", err)
	}
	if err := d.guardCertificate(address.IP, folder); err != nil {
		return err
	}
	objects, err := controller.Objects(controller.Guard)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o["kind"] != "ValidatingWebhookConfiguration" {
			continue
		}
		var h admissionregv1.ValidatingWebhookConfiguration
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, &h); err != nil {
			return fmt.Errorf("webhook %s: %w", guardName, err)
		}
		url := "https://" + address.String() + *h.Webhooks[0].ClientConfig.Service.Path
		h.Webhooks[0].ClientConfig = admissionregv1.WebhookClientConfig{URL: &url, CABundle: authority.CAData}
		if _, err := d.w.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &h, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("webhook %s: %w", guardName, err)
		}
	}
	return nil
}

// guardCertificate writes tls.crt and tls.key.
func (d *redisDemo) guardCertificate(ip net.IP, folder string) error {
	issued, err := d.w.Plane.MachineTLS(ip)
	if err != nil {
		return err
	}
	pair := issued.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return fmt.Errorf("key of the guard: %w", err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("certificate of the guard: %w", err)
		}
	}
	return nil
}

// guardAnswers waits until an eviction is asked about.
func (d *redisDemo) guardAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, guardLimit)
	defer cancel()
	for {
		status, err := askGuard(ctx, d.w.Plane.Config())
		if err != nil {
			return fmt.Errorf("guard: %w", err)
		}
		if status.Answers {
			return nil
		}
		if pause(ctx, time.Second/2); ctx.Err() != nil {
			return fmt.Errorf("the guard does not answer: %s", status.Why)
		}
	}
}
