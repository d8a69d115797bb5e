// Package awsdouble is a double of the parts of AWS that rolecall uses: EKS, STS and
// IAM. It checks the signature of every request and validates its input against the
// service models of AWS, so that a client that AWS would refuse fails here too.
package awsdouble

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config is what the double is started with.
type Config struct {
	// ClusterName is the name of the cluster that the test process runs.
	ClusterName string
	Partition   string
	Region      string
}

// Account has the default cluster.
const Account = "111122223333"

// Double is the state of AWS, and a handler for requests to it.
type Double struct {
	config    Config
	clock     func() time.Time
	iam       iamStore
	permanent sync.Map
	services  map[string]*service
	calls     callLog
	faults    faultList
	throttle  throttle

	// mu guards what follows.
	mu       sync.Mutex
	clusters map[string]*cluster
	settings Settings
	// The policies of callers by their unique IDs.
	permissions map[string]policyDocument
	// made is the number of entries and updates since the reset.
	made int
	// What the servers of the default cluster know, in the order of time, and the
	// number of times that they were asked.
	planes []controlPlane
	asked  int
	// The address of the API server and its certificate authority, in base64.
	endpoint, authority string
}

type service struct {
	name     string
	model    *model
	handlers map[string]handler
}

// handler answers a call that is signed and valid. The mutex of the double is locked.
type handler func(*call) (map[string]any, *apiError)

// call is a request for one operation.
type call struct {
	service   *service
	operation *operation
	principal Identity
	region    string
	input     map[string]any
}

func (s *service) isQuery() bool {
	return s.model.Metadata.Protocol == "query"
}

// New returns a double without clusters. Reset adds the default one.
func New(config Config) (*Double, error) {
	d := &Double{config: config, clock: time.Now}
	d.iam.now = d.now
	d.iam.reset()
	d.services = map[string]*service{}
	for name, handlers := range map[string]map[string]handler{
		"eks": d.eksHandlers(),
		"sts": d.stsHandlers(),
		"iam": d.iamHandlers(),
	} {
		m, err := loadModel(name)
		if err != nil {
			return nil, err
		}
		d.services[name] = &service{name: name, model: m, handlers: handlers}
	}
	d.Reset()
	return d, nil
}

// now is the time of the servers. A test may replace the clock.
func (d *Double) now() time.Time { return d.clock() }

func (d *Double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.serveCredentials(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	form := formOf(r, body)
	c, failed := d.authenticatedCall(r, body, form)
	if c == nil {
		s := d.unsignedService(form)
		writeError(w, s.isQuery(), s.model.Metadata.XMLNamespace, failed)
		return
	}
	var output map[string]any
	if failed == nil {
		failed = d.decode(c, r, body, form)
	}
	if failed == nil {
		var lost bool
		output, lost, failed = d.answer(c)
		if lost {
			// Closes the connection without an answer.
			panic(http.ErrAbortHandler)
		}
	}
	if failed != nil {
		writeError(w, c.service.isQuery(), c.service.model.Metadata.XMLNamespace, failed)
		return
	}
	writeAnswer(w, c.service, c.operation, output)
}

// formOf returns the parameters of a request of the query protocol, or nil.
func formOf(r *http.Request, body []byte) url.Values {
	if r.URL.Path != "/" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	return form
}

// unsignedService returns the service that answers a request without a valid scope.
func (d *Double) unsignedService(form url.Values) *service {
	if form == nil {
		return d.services["eks"]
	}
	return d.services["sts"]
}

// authenticatedCall returns nil if the service of the request is not known, and an
// error if the request is not signed with valid credentials.
func (d *Double) authenticatedCall(r *http.Request, body []byte, form url.Values) (*call, *apiError) {
	header := r.Header.Get("Authorization")
	if header == "" {
		if op := d.services["sts"].model.Operations[form.Get("Action")]; op != nil && op.AuthType == "none" {
			return &call{service: d.services["sts"], region: d.config.Region}, nil
		}
		return nil, failure(http.StatusForbidden, "MissingAuthenticationToken"+d.suffix(form), "Missing Authentication Token")
	}
	a, err := parseAuthorization(header)
	if err != nil {
		return nil, failure(http.StatusBadRequest, "IncompleteSignature"+d.suffix(form), "%v", err)
	}
	s, ok := d.services[a.service]
	if !ok {
		return nil, failure(http.StatusForbidden, "InvalidSignatureException",
			"Credential should be scoped to correct service: the double has no service '%s'", a.service)
	}
	c := &call{service: s, region: a.region}
	c.principal, err = d.Authenticate(a.accessKey, r.Header.Get("X-Amz-Security-Token"))
	code := map[bool]string{true: "InvalidClientTokenId", false: "UnrecognizedClientException"}[s.isQuery()]
	if errors.Is(err, errExpiredToken) {
		code = "ExpiredToken" + d.suffix(form)
	}
	if err != nil {
		return c, failure(http.StatusForbidden, code, "%s", strings.ToUpper(err.Error()[:1])+err.Error()[1:])
	}
	if err := a.verify(r, body, time.Now()); err != nil {
		code := map[bool]string{true: "SignatureDoesNotMatch", false: "InvalidSignatureException"}[s.isQuery()]
		return c, failure(http.StatusForbidden, code, "%v", err)
	}
	return c, nil
}

// suffix is the end of an error code, which the query protocol does not have.
func (d *Double) suffix(form url.Values) string {
	if form == nil {
		return "Exception"
	}
	return ""
}

// decode finds the operation of a call, reads its input and validates it.
func (d *Double) decode(c *call, r *http.Request, body []byte, form url.Values) *apiError {
	m := c.service.model
	var failed *apiError
	if c.service.isQuery() {
		c.operation = m.Operations[form.Get("Action")]
		if r.Method != http.MethodPost || c.operation == nil || form.Get("Version") != m.Metadata.APIVersion {
			return failure(http.StatusBadRequest, "InvalidAction",
				"Could not find operation %s for version %s", form.Get("Action"), form.Get("Version"))
		}
		c.input, failed = m.decodeForm(c.operation, form)
	} else {
		var path map[string]string
		c.operation, path = m.restOperation(r.Method, r.URL.EscapedPath())
		if c.operation == nil {
			return failure(http.StatusNotFound, "UnknownOperationException", "%s %s", r.Method, r.URL.EscapedPath())
		}
		c.input, failed = m.decodeREST(c.operation, path, r, body)
	}
	if failed != nil {
		return failed
	}
	return nil
}

// answer runs a call. The answer is lost if a fault asks for that.
func (d *Double) answer(c *call) (output map[string]any, lost bool, failed *apiError) {
	record := d.calls.begin(c)
	defer func() { d.calls.end(record, failed) }()
	d.mu.Lock()
	latency := time.Duration(d.settings.LatencyMS) * time.Millisecond
	d.mu.Unlock()
	time.Sleep(latency)
	fault := d.faults.take(c)
	if fault != nil {
		time.Sleep(time.Duration(fault.DelayMS) * time.Millisecond)
		if fault.Code != "" {
			return nil, false, failure(fault.Status, fault.Code, "%s", fault.Message)
		}
		if fault.LoseRequest {
			return nil, true, nil
		}
	}
	if failed := d.throttle.refuse(c); failed != nil {
		return nil, false, failed
	}
	if failed := c.service.model.validate(c.operation, c.service.isQuery(), c.input); failed != nil {
		return nil, false, failed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	handle, ok := c.service.handlers[c.operation.Name]
	if !ok {
		return nil, false, failure(http.StatusInternalServerError, "InternalFailure", "the double has no %s", c.operation.Name)
	}
	d.finishUpdates()
	if failed := d.refuse(c); failed != nil {
		return nil, false, failed
	}
	output, failed = handle(c)
	return output, fault != nil && fault.LoseAnswer, failed
}
