//! A small blocking client for the cluster's two doors, its API and its
//! control page: tests say method, path and body, and look at status and
//! answer. It never retries; what came is what the test sees.

use std::path::Path;

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

pub struct Web {
    runtime: Runtime,
    client: Client,
}

impl Web {
    pub fn new(server: &str, ca: Option<&Path>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a test machine must be able to start a thread");
        let mut config = Config::new(server.parse().expect("the test cluster announces valid addresses"));
        config.root_cert_file = ca.map(Path::to_path_buf);
        config.default_retry = false;
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config).expect("the test cluster's CA must be readable")
        };
        Self { runtime, client }
    }

    /// Returns status and answer; an answer that is not JSON comes as a string.
    ///
    /// # Panics
    /// When no answer comes.
    #[track_caller]
    pub fn send(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        if body.is_some() {
            headers.push(("content-type", content_type.unwrap_or("application/json")));
        }
        self.send_with(&headers, method, path, body)
    }

    /// Likewise with these headers and no others of ours.
    ///
    /// # Panics
    /// When no answer comes.
    #[track_caller]
    pub fn send_with(&self, headers: &[(&str, &str)], method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let request =
            request.body(Body::from(text.into_bytes())).expect("a test must write a valid method, path and token");
        let answered = self.runtime.block_on(async {
            let response = self.client.send(request).await?;
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok::<_, kube::Error>((status, bytes))
        });
        let (status, bytes) = answered.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let answer = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        (status, answer)
    }
}
