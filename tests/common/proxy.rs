//! A proxy between rolecall and the API server that injects faults. It accepts plain HTTP, and connects with TLS.
//!
//! A test chooses an action for each request by its method, path and number, and can call a function after each
//! response. All requests are recorded.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::TestCluster;
use super::http_client::HttpClient;
use super::kubeconfig;
use super::shared_cluster::spawn;

/// A request as it was received.
#[derive(Debug, Clone)]
pub struct ProxyRequest {
    pub method: String,
    /// The path without the query, percent-encoded as it was received.
    pub path: String,
    pub query: String,
    pub body: Value,
    pub authorization: String,
    pub content_type: String,
    /// The number of this request among those with the same method and path, from 1. Dry runs are counted separately.
    pub nth: usize,
    /// The number of writes of RBAC objects and ConfigMaps so far, including this request.
    pub write_count: usize,
}

impl ProxyRequest {
    /// Whether the request writes an RBAC object or a ConfigMap. A dry run and a write of the Lease do not count.
    pub fn is_write(&self) -> bool {
        is_write(&self.method, &self.path, &self.query)
    }

    pub fn is_dry_run(&self) -> bool {
        is_dry_run(&self.query)
    }

    /// Whether the request has this method and a path with this end, and is not a dry run.
    pub fn matches(&self, method: &str, path_end: &str) -> bool {
        self.method == method && self.path.ends_with(path_end) && !self.is_dry_run()
    }
}

fn is_write(method: &str, path: &str, query: &str) -> bool {
    method != "GET" && !path.contains("review") && !path.contains("/leases") && !is_dry_run(query)
}

fn is_dry_run(query: &str) -> bool {
    query.contains("dryRun=All")
}

/// What the proxy does with a request.
#[derive(Debug, Clone)]
pub enum ProxyAction {
    /// Forwards the request.
    Forward,
    /// Forwards the request with this bearer token.
    ForwardWithToken(String),
    /// Forwards the request with this query.
    ForwardWithQuery(String),
    /// Forwards the request after a delay.
    ForwardAfter(Duration),
    /// Returns this response without forwarding the request.
    Respond(ProxyResponse),
    /// Closes the connection without forwarding the request.
    Reset,
    /// Forwards the request, and closes the connection before the response.
    LoseResponse,
    /// Forwards the request, and closes the connection within the response.
    TruncateResponse,
    /// Forwards the request, and returns this response in place of the real one.
    ReplaceResponse(ProxyResponse),
}

#[derive(Debug, Clone)]
pub struct ProxyResponse {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl ProxyResponse {
    /// An error in the format of the API server.
    pub fn failure(status: u16, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "reason": reason, "message": message, "code": status,
        });
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string() }
    }

    /// The response of API priority and fairness to a rejected request, which is plain text
    /// (apiserver, pkg/server/filters/priority-and-fairness.go).
    pub fn too_many_requests() -> Self {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        let body = "Too many requests, please try again later.\n".to_owned();
        Self { status: 429, headers, body }.retry_after(0)
    }

    /// The response of a load balancer whose API server does not respond.
    pub fn unavailable(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: "upstream failed\n".to_owned() }.retry_after(0)
    }

    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.headers.retain(|(name, _)| *name != "Retry-After");
        self.headers.push(("Retry-After", seconds.to_string()));
        self
    }
}

type ChooseAction = dyn Fn(&ProxyRequest) -> ProxyAction + Send + Sync;
type Observer = dyn Fn(&ProxyRequest, u16) + Send + Sync;

struct ProxyState {
    http_client: HttpClient,
    choose_action: Box<ChooseAction>,
    observer: Box<Observer>,
    requests: Mutex<Vec<ProxyRequest>>,
    stopped: AtomicBool,
}

pub struct Proxy {
    state: Arc<ProxyState>,
    address: SocketAddr,
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl Proxy {
    /// # Panics
    /// If no port of the loopback interface is free.
    pub fn start(
        cluster: &TestCluster,
        choose_action: impl Fn(&ProxyRequest) -> ProxyAction + Send + Sync + 'static,
    ) -> Self {
        Self::start_with_observer(cluster, choose_action, |_, _| {})
    }

    /// Calls `observer` with the status code of each response of the API server, before the response is returned.
    pub fn start_with_observer(
        cluster: &TestCluster,
        choose_action: impl Fn(&ProxyRequest) -> ProxyAction + Send + Sync + 'static,
        observer: impl Fn(&ProxyRequest, u16) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no port of the loopback interface is free");
        let address = listener.local_addr().expect("the listener has an address");
        let state = Arc::new(ProxyState {
            http_client: HttpClient::new(cluster.server(), Some(cluster.ca_file())),
            choose_action: Box::new(choose_action),
            observer: Box::new(observer),
            requests: Mutex::new(Vec::new()),
            stopped: AtomicBool::new(false),
        });
        let folder = TempDir::new().expect("a temporary directory cannot be created");
        let kubeconfig = folder.path().join("kubeconfig");
        let content =
            kubeconfig::with_token("admin", &format!("http://{address}"), cluster.ca_file(), cluster.admin_token());
        std::fs::write(&kubeconfig, content.to_string()).expect("the temporary directory is writable");
        let listener_state = state.clone();
        spawn(move || {
            for stream in listener.incoming().flatten() {
                if listener_state.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let state = listener_state.clone();
                spawn(move || state.serve(stream));
            }
        });
        Self { state, address, folder, kubeconfig }
    }

    pub fn server(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The kubeconfig of a member of `system:masters`, with this proxy as its server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Writes another kubeconfig, which exists as long as the proxy.
    pub fn write_kubeconfig(&self, content: &Value) -> PathBuf {
        let path = self.folder.path().join("other");
        std::fs::write(&path, content.to_string()).expect("the temporary directory is writable");
        path
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<ProxyRequest> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Method and path, such as `POST /apis/...`, of all writes so far, in the order in which they were received.
    pub fn writes(&self) -> Vec<String> {
        let requests = self.requests();
        let writes = requests.iter().filter(|request| request.is_write());
        writes.map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // The thread of the listener only sees the flag when it accepts a connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl ProxyState {
    /// Serves the requests of one connection until one side closes it.
    fn serve(&self, stream: TcpStream) {
        let Ok(read_half) = stream.try_clone() else {
            return;
        };
        let mut reader = BufReader::new(read_half);
        while let Some(request) = self.read_request(&mut reader) {
            let Some((response, truncated)) = self.respond(&request) else {
                return;
            };
            if write_response(&stream, &response, truncated).is_err() || truncated {
                return;
            }
        }
    }

    fn read_request(&self, reader: &mut BufReader<TcpStream>) -> Option<ProxyRequest> {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |earlier: &&ProxyRequest| {
            earlier.method == method && earlier.path == path && earlier.is_dry_run() == is_dry_run(query)
        };
        let nth = requests.iter().filter(is_same).count() + 1;
        let earlier_writes = requests.iter().filter(|earlier| earlier.is_write()).count();
        let request = ProxyRequest {
            write_count: earlier_writes + usize::from(is_write(&method, path, query)),
            path: path.to_owned(),
            query: query.to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            authorization: headers.get("authorization").cloned().unwrap_or_default(),
            content_type: headers.get("content-type").cloned().unwrap_or_default(),
            nth,
            method,
        };
        requests.push(request.clone());
        Some(request)
    }

    /// The response, and whether it is truncated. None if the connection is closed without a response.
    fn respond(&self, request: &ProxyRequest) -> Option<(ProxyResponse, bool)> {
        match (self.choose_action)(request) {
            ProxyAction::Respond(response) => Some((response, false)),
            ProxyAction::Reset => None,
            ProxyAction::Forward => Some((self.forward(request), false)),
            ProxyAction::ForwardWithToken(token) => {
                let request = ProxyRequest { authorization: format!("Bearer {token}"), ..request.clone() };
                Some((self.forward(&request), false))
            }
            ProxyAction::ForwardWithQuery(query) => {
                Some((self.forward(&ProxyRequest { query, ..request.clone() }), false))
            }
            ProxyAction::ForwardAfter(delay) => {
                std::thread::sleep(delay);
                Some((self.forward(request), false))
            }
            ProxyAction::LoseResponse => {
                self.forward(request);
                None
            }
            ProxyAction::TruncateResponse => Some((self.forward(request), true)),
            ProxyAction::ReplaceResponse(response) => {
                self.forward(request);
                Some((response, false))
            }
        }
    }

    fn forward(&self, request: &ProxyRequest) -> ProxyResponse {
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let target = format!("{}{query}", request.path);
        let body = (!request.body.is_null()).then_some(&request.body);
        let content_type = Some(request.content_type.as_str()).filter(|text| !text.is_empty());
        let token = request.authorization.strip_prefix("Bearer ");
        let (status, body) = self.http_client.send(token, &request.method, &target, content_type, body);
        (self.observer)(request, status);
        let body = match body {
            Value::String(text) => text,
            json => json.to_string(),
        };
        ProxyResponse { status, headers: vec![("Content-Type", "application/json".to_owned())], body }
    }
}

fn write_response(mut stream: &TcpStream, response: &ProxyResponse, truncated: bool) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {} -\r\nContent-Length: {}\r\n", response.status, response.body.len());
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(&response.body);
    let length = if truncated { text.len() - response.body.len() / 2 - 1 } else { text.len() };
    stream.write_all(&text.as_bytes()[..length])
}
