package awsdouble

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// DirectCall is a call of a test that is not signed, not logged, and meets no fault
// and no limit. It is how a test plays another client.
type DirectCall struct {
	Service   string          `json:"service"`
	Operation string          `json:"call"`
	Input     json.RawMessage `json:"input"`
	// Principal is the ARN of the caller. Empty: a user of the default account.
	Principal string `json:"principal"`
}

// Call answers a call with the output of the API in JSON.
func (d *Double) Call(input DirectCall) (any, error) {
	if input.Service == "" {
		input.Service = "eks"
	}
	if input.Principal == "" {
		input.Principal = "arn:" + d.config.Partition + ":iam::" + Account + ":user/test"
	}
	s, ok := d.services[input.Service]
	if !ok || s.model.Operations[input.Operation] == nil || s.handlers[input.Operation] == nil {
		return nil, fmt.Errorf("the double has no %s of %s", input.Operation, input.Service)
	}
	principal, err := d.identity(input.Principal)
	if err != nil {
		return nil, err
	}
	c := &call{service: s, operation: s.model.Operations[input.Operation], principal: principal, region: d.config.Region}
	decoder := json.NewDecoder(bytes.NewReader(input.Input))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	typed, failed := s.model.typed(c.operation.Input.Shape, "", object)
	if failed != nil {
		return nil, failed
	}
	c.input = typed.(map[string]any)
	if failed := s.model.validate(c.operation, s.isQuery(), c.input); failed != nil {
		return nil, failed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finishUpdates()
	output, failed := s.handlers[input.Operation](c)
	if failed != nil {
		return nil, failed
	}
	return s.model.output(c.operation.Output.Shape, c.operation.Name, output)
}
