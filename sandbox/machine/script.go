package machine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The annotations that direct a pod; the package doc says what each means.
const (
	annotationPrefix  = "sandbox.drover.dev/"
	AnnotationProcess = annotationPrefix + "process"
	AnnotationPull    = annotationPrefix + "pull"
	AnnotationReady   = annotationPrefix + "ready"
	AnnotationRun     = annotationPrefix + "run"
	AnnotationExit    = annotationPrefix + "exit"
	AnnotationStop    = annotationPrefix + "stop"
)

// span is a duration that may never end.
type span struct {
	time.Duration
	never bool
}

// script is a pod's annotations, read.
type script struct {
	process bool
	pull    span
	ready   span
	run     span
	exit    int32
	stop    span
}

func readScript(p *corev1.Pod) (script, error) {
	s := script{
		pull:  span{Duration: 500 * time.Millisecond},
		ready: span{Duration: time.Second},
		run:   span{never: true},
		stop:  span{Duration: 200 * time.Millisecond},
	}
	if owner := metav1.GetControllerOf(p); owner != nil && owner.Kind == "Job" {
		s.run = span{Duration: 5 * time.Second}
	}
	for key, into := range map[string]*span{AnnotationPull: &s.pull, AnnotationReady: &s.ready, AnnotationRun: &s.run, AnnotationStop: &s.stop} {
		text, given := p.Annotations[key]
		if !given {
			continue
		}
		if text == "never" && key != AnnotationPull {
			*into = span{never: true}
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return s, fmt.Errorf("annotation %s is %q, want a duration like 2s", key, text)
		}
		*into = span{Duration: d}
	}
	if text, given := p.Annotations[AnnotationExit]; given {
		code, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return s, fmt.Errorf("annotation %s is %q, want an exit code", AnnotationExit, text)
		}
		s.exit = int32(code)
	}
	if text, given := p.Annotations[AnnotationProcess]; given {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return s, fmt.Errorf("annotation %s is %q, want true or false", AnnotationProcess, text)
		}
		// A mirror pod stands for something a kubelet runs from a file of its own; running it here would be a second one.
		_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
		s.process = on && !mirror
	}
	return s, nil
}

var sleepWords = regexp.MustCompile(`\bsleep\s+(\d+(?:\.\d+)?)`)

// hookTime is how long a hook of a simulated container takes: the sleeping in it.
func hookTime(h *corev1.LifecycleHandler) time.Duration {
	switch {
	case h == nil:
		return 0
	case h.Sleep != nil:
		return time.Duration(h.Sleep.Seconds) * time.Second
	case h.Exec == nil:
		return 0
	}
	var total time.Duration
	for _, m := range sleepWords.FindAllStringSubmatch(strings.Join(h.Exec.Command, " "), -1) {
		seconds, err := strconv.ParseFloat(m[1], 64)
		if err == nil {
			total += time.Duration(seconds * float64(time.Second))
		}
	}
	return total
}
