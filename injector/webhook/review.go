// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Request is what a decision is about.
type Request struct {
	// Pod is the pod as the API server sent it, as JSON.
	Pod []byte
	// Namespace is the pod's; the object itself may leave it out.
	Namespace string
}

// Decision is what becomes of a pod. The zero value lets it pass unchanged.
type Decision struct {
	// Patch is a JSON patch (RFC 6902); empty leaves the pod as it is.
	Patch []byte
	// Warnings are shown to whoever makes the pod.
	Warnings []string
	// Refusal says why the pod must not be made; empty lets it pass.
	Refusal string
}

// Mutator decides on a pod. An error is a fault of the companion's and not of the
// pod: the pod is refused with it, and it may succeed later. It is called by
// several goroutines, and must leave the request as it is.
type Mutator func(context.Context, Request) (Decision, error)

// The labels of the metrics.
const (
	resultUnchanged = "unchanged"
	resultInjected  = "injected"
	resultRefused   = "refused"
	resultError     = "error"
	resultBad       = "bad_request"
	resultBusy      = "busy"
)

// retryAfter is when a refused review should be sent again, in seconds: API servers
// do, some times, within the timeout of the webhook configuration. One of two, so
// that a burst does not come back as a burst.
func retryAfter() string { return strconv.Itoa(1 + rand.IntN(2)) } //nolint:gosec // nobody has to guess it

// seldom is for lines of the log whose number is up to whoever connects.
type seldom struct{ last atomic.Int64 }

// sayEvery is the time between two such lines.
const sayEvery = 10 * time.Second

// due tells whether it is time for another one.
func (s *seldom) due() bool {
	now, last := time.Now().UnixNano(), s.last.Load()
	return now-last > int64(sayEvery) && s.last.CompareAndSwap(last, now)
}

// ServeHTTP answers one AdmissionReview:
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if s.draining.Load() {
		// The next review goes over a new connection, to a replica that stays. A
		// connection that is closed when a review is on its way fails it.
		w.Header().Set("Connection", "close")
	}
	result := s.serve(w, r)
	if result != resultBusy {
		s.metrics.duration.Observe(time.Since(start).Seconds())
	}
	s.metrics.admissions.WithLabelValues(result).Inc()
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) (result string) {
	if s.bounds.full() {
		return s.busy(w)
	}
	ctx, cancel := context.WithTimeout(r.Context(), decisionTimeout)
	defer cancel()
	from := &metered{from: http.MaxBytesReader(w, r.Body, maxBody), of: s.bounds}
	defer from.done()
	body, status, err := read(r, from)
	if err != nil {
		return s.noReview(w, r, status, err)
	}
	done, err := s.bounds.turn(ctx)
	if err != nil {
		return s.busy(w)
	}
	out, result, err := s.review(ctx, body, done)
	switch {
	case result == resultBusy:
		return s.busy(w)
	case result == resultBad:
		return s.noReview(w, r, http.StatusBadRequest, err)
	case err != nil:
		s.log.Error("cannot encode an answer", "error", err)
		http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
		return resultError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out) // an API server that is gone asks again
	return result
}

// busy is no decision about the pod: API servers ask again, and at last go by the
// failure policy of the webhook configuration.
func (s *Server) busy(w http.ResponseWriter) string {
	w.Header().Set("Retry-After", retryAfter())
	http.Error(w, errBusy.Error(), http.StatusServiceUnavailable)
	if s.saidBusy.due() {
		s.log.Warn("there are more reviews than this replica can decide on, API servers are told to ask again", "waiting", len(s.bounds.waiting))
	}
	return resultBusy
}

func (s *Server) noReview(w http.ResponseWriter, r *http.Request, status int, err error) string {
	if errors.Is(err, errBusy) {
		return s.busy(w)
	}
	if s.saidBad.due() {
		s.log.Warn("refused a request that is no admission review", "remote_addr", r.RemoteAddr, "reason", err.Error())
	}
	w.Header().Set("Connection", "close") // no API server's: it need not be kept
	http.Error(w, err.Error(), status)
	return resultBad
}

// read takes the body out of the request, with the HTTP status if it cannot.
func read(r *http.Request, from io.Reader) ([]byte, int, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, http.StatusUnsupportedMediaType, errors.New("the content type must be application/json")
	}
	var body bytes.Buffer
	if n := r.ContentLength; n > 0 {
		body.Grow(int(min(n, trustedLength)) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(from); err != nil {
		if errors.Is(err, errBusy) {
			return nil, http.StatusServiceUnavailable, err
		}
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", maxBody)
		}
		return nil, http.StatusBadRequest, errors.New("the body cannot be read")
	}
	if elementsOf(body.Bytes()) > maxElements {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d elements", maxElements)
	}
	return body.Bytes(), 0, nil
}

// review makes the answer to a body, and calls done when the work is over.
func (s *Server) review(ctx context.Context, body []byte, done func()) (out []byte, result string, err error) {
	defer done()
	size := elementsOf(body) * elementSize
	if !s.bounds.elements.take(size) {
		return nil, resultBusy, errBusy
	}
	defer s.bounds.elements.give(size)
	review, err := parse(body)
	if err != nil {
		return nil, resultBad, err
	}
	answer, result := s.decide(ctx, review.Request)
	answer.UID = review.Request.UID
	out, err = json.Marshal(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: answer})
	if err != nil {
		return nil, resultError, err
	}
	return out, result, nil
}

// parse reads a review.
func parse(body []byte) (review admissionv1.AdmissionReview, err error) {
	if err := json.Unmarshal(body, &review); err != nil {
		return review, errors.New("the body is not the JSON of an admission review")
	}
	switch {
	case review.Kind != "AdmissionReview" || review.APIVersion != admissionv1.SchemeGroupVersion.String():
		return review, errors.New("the body is not an AdmissionReview of " + admissionv1.SchemeGroupVersion.String())
	case review.Request == nil || review.Request.UID == "":
		return review, errors.New("the review is without a request, or the request without a UID")
	}
	return review, nil
}

// decide asks the mutator and puts what it says into a response.
func (s *Server) decide(ctx context.Context, request *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, string) {
	if request.Operation != admissionv1.Create || request.Kind.Kind != "Pod" || request.Kind.Group != "" || request.SubResource != "" {
		return &admissionv1.AdmissionResponse{Allowed: true}, resultUnchanged
	}
	decision, err := s.ask(ctx, Request{Pod: request.Object.Raw, Namespace: request.Namespace})
	log := s.log.With("namespace", brief(request.Namespace), "pod", brief(request.Name), "uid", brief(string(request.UID)))
	switch {
	case err != nil:
		log.Error("cannot decide on a pod", "error", err.Error())
		return refusal(http.StatusInternalServerError, metav1.StatusReasonInternalError, "podplane-injector: "+err.Error()), resultError
	case decision.Refusal != "":
		log.Info("refused a pod", "reason", decision.Refusal)
		answer := refusal(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, decision.Refusal)
		answer.Warnings = decision.Warnings
		return answer, resultRefused
	case len(decision.Patch) == 0:
		return &admissionv1.AdmissionResponse{Allowed: true, Warnings: decision.Warnings}, resultUnchanged
	}
	log.Debug("injected a pod", "patch_bytes", len(decision.Patch))
	kind := admissionv1.PatchTypeJSONPatch
	return &admissionv1.AdmissionResponse{Allowed: true, Patch: decision.Patch, PatchType: &kind, Warnings: decision.Warnings}, resultInjected
}

// brief is a name for the log. Who is no API server may send any, and API servers
// validate after admission; valid ones are no longer than this:
// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/.
func brief(name string) string {
	const longest = 253
	return name[:min(len(name), longest)]
}

// ask turns a panic into an error. What it says is for the log only: it may hold
// pieces of the pod.
func (s *Server) ask(ctx context.Context, request Request) (decision Decision, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("panic while deciding on a pod", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			decision, err = Decision{}, errors.New("a fault in the companion; its log has more")
		}
	}()
	return s.cfg.Mutate(ctx, request)
}

func refusal(code int32, reason metav1.StatusReason, message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}}
}
