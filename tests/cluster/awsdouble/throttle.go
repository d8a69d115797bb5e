package awsdouble

import (
	"net/http"
	"sync"
	"time"
)

// Rate limits an operation as AWS does, with a bucket of tokens.
type Rate struct {
	PerSecond float64 `json:"per_second"`
	Burst     float64 `json:"burst"`
}

type throttle struct {
	mu      sync.Mutex
	rates   map[string]Rate
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func (t *throttle) set(rates map[string]Rate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rates, t.buckets = rates, map[string]*bucket{}
}

// refuse returns the error of a call that comes too early.
func (t *throttle) refuse(c *call) *apiError {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := c.operation.Name
	rate, ok := t.rates[name]
	if !ok {
		// The limit that all other operations share.
		name = "*"
		rate, ok = t.rates[name]
	}
	if !ok {
		return nil
	}
	b := t.buckets[name]
	if b == nil {
		b = &bucket{tokens: rate.Burst, at: time.Now()}
		t.buckets[name] = b
	}
	now := time.Now()
	b.tokens = min(rate.Burst, b.tokens+now.Sub(b.at).Seconds()*rate.PerSecond)
	b.at = now
	if b.tokens >= 1 {
		b.tokens--
		return nil
	}
	if c.service.isQuery() {
		return failure(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	return failure(http.StatusTooManyRequests, "ThrottlingException", "Rate exceeded")
}
