package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"drover.dev/deploy/controller"
	"drover.dev/sandbox"
)

// guardLimit is more than the guard needs to make its keys and to be trusted.
const guardLimit = time.Minute

// underGuard drains the nodes while drover controller guards evictions.
func (d *redisDemo) underGuard(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	if err := d.installGuard(ctx, address); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	c, err := d.a.startController(ctx, d.w, func(line string) { d.say("drover", "", "%s", line) }, "--guard", "--guard-listen", address.String())
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
	return errors.Join(d.w.DrainAll(ctx, sandbox.RedisGroup, d.drained), c.alive())
}

// freeAddress is one on this machine where nobody listens, as long as nobody else looks for one.
func freeAddress() (*net.TCPAddr, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return l.Addr().(*net.TCPAddr), l.Close()
}

// installGuard creates what drover install --controller --guard does, but for the Deployment. There is no network of services here: the guard's name
// leads to this machine, and to the port where it listens.
func (d *redisDemo) installGuard(ctx context.Context, address *net.TCPAddr) error {
	client := d.w.Client()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: guardNamespace}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("namespace %s: %w", guardNamespace, err)
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: guardName, Namespace: guardNamespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: address.IP.String()},
	}
	if _, err := client.CoreV1().Services(guardNamespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("service %s: %w", guardName, err)
	}
	objects, err := controller.Objects(controller.Guard)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := d.createGuard(ctx, o, int32(address.Port)); err != nil {
			return fmt.Errorf("%v %s: %w", o["kind"], guardName, err)
		}
	}
	return nil
}

func (d *redisDemo) createGuard(ctx context.Context, o map[string]any, port int32) error {
	switch o["kind"] {
	case "Secret":
		var s corev1.Secret
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, &s); err != nil {
			return err
		}
		_, err := d.w.Client().CoreV1().Secrets(s.Namespace).Create(ctx, &s, metav1.CreateOptions{})
		return err
	case "ValidatingWebhookConfiguration":
		var h admissionregv1.ValidatingWebhookConfiguration
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, &h); err != nil {
			return err
		}
		h.Webhooks[0].ClientConfig.Service.Port = &port
		_, err := d.w.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &h, metav1.CreateOptions{})
		return err
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
