// A watcher asks again and again what identities may do, so that a test sees the
// moments between two writes. It runs in this process, where an observation costs no
// TLS and no new process.
package main

import (
	"errors"
	"reflect"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1beta1"
)

// The tokens of a watch are valid for 15 minutes, which is far longer than a test.
type watchInput struct {
	askedRequests
	Workers int `json:"workers"`
}

// history is what an identity could do, as far as it was seen.
type history struct {
	Identity string   `json:"identity"`
	Changes  []change `json:"changes"`
	// Observations is the number of times that the identity was asked about, and
	// LongestPauseMS the longest time between two of them.
	Observations   int   `json:"observations"`
	LongestPauseMS int64 `json:"longest_pause_ms"`
}

// change is the first observation of other answers than before.
type change struct {
	AtMS int64 `json:"at_ms"`
	// Answers are in the form of control.answers.
	Answers string `json:"answers"`
}

type watch struct {
	control *control
	input   watchInput
	start   time.Time
	stop    chan struct{}
	workers sync.WaitGroup
	// mu guards the histories while the workers run.
	mu        sync.Mutex
	histories []history
	// The authenticator caches no tokens, so each identity has one for the whole watch.
	tokens map[string]string
	// errs has the first error of each worker.
	errs []error
	// failed is closed when a worker has failed.
	failed chan struct{}
}

func (c *control) startWatch(input watchInput) (any, error) {
	c.watchMutex.Lock()
	defer c.watchMutex.Unlock()
	if c.watch != nil {
		return nil, errors.New("the cluster is already watched")
	}
	w := &watch{
		control: c,
		input:   input,
		start:   time.Now(),
		stop:    make(chan struct{}),
		failed:  make(chan struct{}),
		tokens:  map[string]string{},
	}
	fail := sync.OnceFunc(func() { close(w.failed) })
	for _, identity := range input.Identities {
		token, err := tokenFor(c.options, c.aws, identity)
		if err != nil {
			return nil, err
		}
		w.tokens[identity] = token
		w.histories = append(w.histories, history{Identity: identity, Changes: []change{}})
	}
	count := max(1, min(input.Workers, len(input.Identities)))
	w.errs = make([]error, count)
	first := sync.WaitGroup{}
	for worker := range count {
		w.workers.Add(1)
		first.Add(1)
		go func() {
			defer w.workers.Done()
			if w.errs[worker] = w.run(worker, count, sync.OnceFunc(first.Done)); w.errs[worker] != nil {
				fail()
			}
		}()
	}
	// The state before the first write of the test is part of each history.
	first.Wait()
	c.watch = w
	return struct{}{}, nil
}

// watchRound returns after an observation of each identity that began after the call.
func (c *control) watchRound(struct{}) (any, error) {
	c.watchMutex.Lock()
	defer c.watchMutex.Unlock()
	if c.watch == nil {
		return nil, errors.New("the cluster is not watched")
	}
	w := c.watch
	before := w.observations()
	for {
		// The first of two observations may have begun before the call.
		done := true
		for i, count := range w.observations() {
			done = done && count >= before[i]+2
		}
		if done {
			return struct{}{}, nil
		}
		select {
		case <-w.failed:
			return nil, errors.New("the watch has failed")
		case <-time.After(time.Millisecond):
		}
	}
}

func (w *watch) observations() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := make([]int, len(w.histories))
	for i, h := range w.histories {
		counts[i] = h.Observations
	}
	return counts
}

// stopWatch returns the histories. The last observation of each begins after the call.
func (c *control) stopWatch(struct{}) (any, error) {
	c.watchMutex.Lock()
	defer c.watchMutex.Unlock()
	if c.watch == nil {
		return nil, errors.New("the cluster is not watched")
	}
	w := c.watch
	c.watch = nil
	close(w.stop)
	w.workers.Wait()
	if err := errors.Join(w.errs...); err != nil {
		return nil, err
	}
	for i := range w.histories {
		if err := w.observe(&w.histories[i], time.Time{}); err != nil {
			return nil, err
		}
	}
	return w.histories, nil
}

// run asks about every count-th identity in turn.
func (w *watch) run(worker, count int, firstRoundDone func()) error {
	defer firstRoundDone()
	last := make([]time.Time, len(w.histories))
	for {
		for i := worker; i < len(w.histories); i += count {
			now := time.Now()
			if err := w.observe(&w.histories[i], last[i]); err != nil {
				return err
			}
			last[i] = now
		}
		firstRoundDone()
		select {
		case <-w.stop:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

func (w *watch) observe(h *history, last time.Time) error {
	at := time.Now()
	for {
		user := w.user(h.Identity)
		answers, err := w.control.answersFor(user, w.input.Requests)
		if err != nil {
			return err
		}
		isChange := len(h.Changes) == 0 || h.Changes[len(h.Changes)-1].Answers != answers
		// A real request is authenticated and authorized at once. If the identity has
		// become another user in between, the answers are of no moment.
		if isChange && !sameUser(user, w.user(h.Identity)) {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if !last.IsZero() {
			h.LongestPauseMS = max(h.LongestPauseMS, at.Sub(last).Milliseconds())
		}
		h.Observations++
		if isChange {
			h.Changes = append(h.Changes, change{AtMS: at.Sub(w.start).Milliseconds(), Answers: answers})
		}
		return nil
	}
}

func sameUser(a, b *authentication.UserInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Username == b.Username && reflect.DeepEqual(a.Groups, b.Groups) && a.UID == b.UID
}

// user is nil if the identity is not authenticated.
func (w *watch) user(identity string) *authentication.UserInfo {
	user, _ := w.control.authenticator.review(w.tokens[identity])
	return user
}
