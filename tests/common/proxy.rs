//! A proxy with faults, between the program and the API server: plain HTTP in, TLS with the cluster's authority out.
//!
//! A test decides each request's fate by method, path and count, and may act between requests; all are recorded.

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
use super::kubeconfig;
use super::web::Web;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Without the query, encoded as it came.
    pub path: String,
    pub query: String,
    pub body: Value,
    pub authorization: String,
    pub content_type: String,
    /// Counts the requests of this method and path, from 1; dry runs by themselves.
    pub nth: usize,
    /// Counts the writes of RBAC objects and ConfigMaps, from 1; of other requests the number of writes before.
    pub writes: usize,
}

impl Asked {
    /// Of an object of the access: neither a dry run nor the Lease.
    pub fn is_write(&self) -> bool {
        is_write(&self.method, &self.path, &self.query)
    }

    pub fn is_dry_run(&self) -> bool {
        is_dry_run(&self.query)
    }

    /// Whether it is of this method, its path ends so, and it is no dry run.
    pub fn is(&self, method: &str, end: &str) -> bool {
        self.method == method && self.path.ends_with(end) && !self.is_dry_run()
    }
}

fn is_write(method: &str, path: &str, query: &str) -> bool {
    method != "GET" && !path.contains("review") && !path.contains("/leases") && !is_dry_run(query)
}

fn is_dry_run(query: &str) -> bool {
    query.contains("dryRun=All")
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fate {
    Pass,
    /// It passes with this token in the place of its own.
    PassAs(String),
    /// The query is another one.
    Requery(String),
    /// This answer, and the API server never hears of it.
    Answer(Answer),
    /// The connection breaks before the API server hears of it.
    Reset,
    /// It takes effect, and the connection breaks before the answer.
    LostAnswer,
    /// It takes effect, and the connection breaks within the answer.
    CutAnswer,
    /// It takes effect, and this is the answer.
    WrongAnswer(Answer),
    /// It passes after a while.
    Late(Duration),
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    /// A failure as the API server words it.
    pub fn failure(status: u16, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "reason": reason, "message": message, "code": status,
        });
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string() }
    }

    /// As priority and fairness turns a request away: plain text.
    pub fn too_many() -> Self {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        let body = "Too many requests, please try again later.\n".to_owned();
        Self { status: 429, headers, body }.retry_after(0)
    }

    /// As a load balancer answers for an API server that is gone.
    pub fn unavailable(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: "upstream failed\n".to_owned() }.retry_after(0)
    }

    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.headers.retain(|(name, _)| *name != "Retry-After");
        self.headers.push(("Retry-After", seconds.to_string()));
        self
    }
}

type Decide = dyn Fn(&Asked) -> Fate + Send + Sync;
type After = dyn Fn(&Asked, u16) + Send + Sync;

struct Inner {
    web: Web,
    decide: Box<Decide>,
    after: Box<After>,
    asked: Mutex<Vec<Asked>>,
    ended: AtomicBool,
}

pub struct Proxy {
    inner: Arc<Inner>,
    address: SocketAddr,
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl Proxy {
    /// # Panics
    /// When nothing can listen on loopback.
    pub fn start(cluster: &TestCluster, decide: impl Fn(&Asked) -> Fate + Send + Sync + 'static) -> Self {
        Self::watched(cluster, decide, |_, _| {})
    }

    /// Calls `after` with each answer of the API server, before it goes on to the program.
    pub fn watched(
        cluster: &TestCluster,
        decide: impl Fn(&Asked) -> Fate + Send + Sync + 'static,
        after: impl Fn(&Asked, u16) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback is free");
        let address = listener.local_addr().expect("it listens");
        let inner = Arc::new(Inner {
            web: Web::new(cluster.server(), Some(cluster.ca_file())),
            decide: Box::new(decide),
            after: Box::new(after),
            asked: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
        });
        let folder = TempDir::new().expect("a test needs a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        let content =
            kubeconfig::with_token("admin", &format!("http://{address}"), cluster.ca_file(), cluster.admin_token());
        std::fs::write(&kubeconfig, content.to_string()).expect("a test writes to its folder");
        let accepting = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let inner = accepting.clone();
                std::thread::spawn(move || inner.serve(stream));
            }
        });
        Self { inner, address, folder, kubeconfig }
    }

    pub fn server(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The admin's kubeconfig with this proxy as its server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Another kubeconfig, kept as long as the proxy.
    pub fn kubeconfig_of(&self, content: &Value) -> PathBuf {
        let path = self.folder.path().join("other");
        std::fs::write(&path, content.to_string()).expect("a test writes to its folder");
        path
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `POST /apis/…`, of writes only, in the order in which they came.
    pub fn writes(&self) -> Vec<String> {
        let asked = self.asked();
        asked.iter().filter(|one| one.is_write()).map(|one| format!("{} {}", one.method, one.path)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    /// Requests of one connection, until either side has enough.
    fn serve(&self, stream: TcpStream) {
        let Ok(reading) = stream.try_clone() else {
            return;
        };
        let mut reader = BufReader::new(reading);
        while let Some(asked) = self.read(&mut reader) {
            let Some((answer, cut)) = self.answer(&asked) else {
                return;
            };
            if write(&stream, &answer, cut).is_err() || cut {
                return;
            }
        }
    }

    fn read(&self, reader: &mut BufReader<TcpStream>) -> Option<Asked> {
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
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = |one: &&Asked| one.method == method && one.path == path && one.is_dry_run() == is_dry_run(query);
        let nth = all.iter().filter(alike).count() + 1;
        let before = all.iter().filter(|one| one.is_write()).count();
        let asked = Asked {
            writes: before + usize::from(is_write(&method, path, query)),
            path: path.to_owned(),
            query: query.to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            authorization: headers.get("authorization").cloned().unwrap_or_default(),
            content_type: headers.get("content-type").cloned().unwrap_or_default(),
            nth,
            method,
        };
        all.push(asked.clone());
        Some(asked)
    }

    /// The answer, and whether it is to be cut; none where the connection is to break.
    fn answer(&self, asked: &Asked) -> Option<(Answer, bool)> {
        match (self.decide)(asked) {
            Fate::Answer(answer) => Some((answer, false)),
            Fate::Reset => None,
            Fate::Pass => Some((self.forward(asked), false)),
            Fate::PassAs(token) => {
                let asked = Asked { authorization: format!("Bearer {token}"), ..asked.clone() };
                Some((self.forward(&asked), false))
            }
            Fate::Requery(query) => Some((self.forward(&Asked { query, ..asked.clone() }), false)),
            Fate::Late(wait) => {
                std::thread::sleep(wait);
                Some((self.forward(asked), false))
            }
            Fate::LostAnswer => {
                self.forward(asked);
                None
            }
            Fate::CutAnswer => Some((self.forward(asked), true)),
            Fate::WrongAnswer(answer) => {
                self.forward(asked);
                Some((answer, false))
            }
        }
    }

    fn forward(&self, asked: &Asked) -> Answer {
        let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
        let target = format!("{}{query}", asked.path);
        let body = (!asked.body.is_null()).then_some(&asked.body);
        let content_type = Some(asked.content_type.as_str()).filter(|text| !text.is_empty());
        let token = asked.authorization.strip_prefix("Bearer ");
        let (status, answer) = self.web.send(token, &asked.method, &target, content_type, body);
        (self.after)(asked, status);
        let body = match answer {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Answer { status, headers: vec![("Content-Type", "application/json".to_owned())], body }
    }
}

fn write(mut stream: &TcpStream, answer: &Answer, cut: bool) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {} -\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(&answer.body);
    let sent = if cut { text.len() - answer.body.len() / 2 - 1 } else { text.len() };
    stream.write_all(&text.as_bytes()[..sent])
}
