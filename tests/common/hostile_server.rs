//! A server in place of an API server, which answers as a test wants: with raw bytes, slowly, or without end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

/// A request: its method, its target, which is the path with the query, its token and its body.
#[derive(Debug, Clone)]
pub struct HostileRequest {
    pub method: String,
    pub target: String,
    pub authorization: Option<String>,
    pub body: String,
}

impl HostileRequest {
    /// Whether the request would change an object. A review and a dry run do not.
    pub fn is_write(&self) -> bool {
        self.method != "GET" && !self.target.contains("review") && !self.target.contains("dryRun=All")
    }

    /// The kind of the list that the request asks for, such as `RoleList`.
    pub fn list_kind(&self) -> &'static str {
        let path = self.target.split('?').next().unwrap_or_default();
        match path.rsplit('/').next().unwrap_or_default() {
            "clusterroles" => "ClusterRoleList",
            "clusterrolebindings" => "ClusterRoleBindingList",
            "roles" => "RoleList",
            "rolebindings" => "RoleBindingList",
            "namespaces" => "NamespaceList",
            "nodes" => "NodeList",
            "apis" => "APIGroupDiscoveryList",
            _ => "Status",
        }
    }
}

pub struct HostileServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<HostileRequest>>>,
    stopped: Arc<AtomicBool>,
}

impl HostileServer {
    /// Each connection has one request, which `respond` answers. An error of `respond` is that the client has closed the
    /// connection.
    ///
    /// # Panics
    /// If no port of the loopback interface is free.
    pub fn start(
        respond: impl Fn(&HostileRequest, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no port of the loopback interface is free");
        let address = listener.local_addr().expect("the listener has an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let respond = Arc::new(respond);
        let (in_listener, is_stopped) = (requests.clone(), stopped.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (respond, requests) = (respond.clone(), in_listener.clone());
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream) else {
                        return;
                    };
                    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    let _ = respond(&request, &mut stream);
                });
            }
        });
        Self { address, requests, stopped }
    }

    /// A kubeconfig with this server.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "hostile",
            "clusters": [{ "name": "hostile", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "hostile", "user": { "token": "t" } }],
            "contexts": [{ "name": "hostile", "context": { "cluster": "hostile", "user": "hostile" } }],
        })
        .to_string()
    }

    /// The URL of the server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<HostileRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All requests so far that would have changed an object.
    pub fn writes(&self) -> Vec<HostileRequest> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|request| request.is_write()).cloned().collect()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn read_request(stream: &TcpStream) -> Option<HostileRequest> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut authorization, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 || line.trim_end().is_empty() {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = Some(value.trim().to_owned());
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(HostileRequest { method, target, authorization, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Sends a response with this status, these header lines, and a body with its length.
pub fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    stream.write_all(
        format!("HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n").as_bytes(),
    )?;
    stream.write_all(body)
}

/// Sends a JSON response.
pub fn respond_json(stream: &mut TcpStream, status: u16, body: &serde_json::Value) -> std::io::Result<()> {
    respond(stream, status, "Content-Type: application/json\r\n", body.to_string().as_bytes())
}

/// Keeps the connection open, until the client closes it or for some minutes.
pub fn hang(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_mins(5)))?;
    stream.read_exact(&mut [0])
}
