//! A blocking HTTP client for the API server and the control server of the test cluster. It never retries, so a test
//! sees the response of every request.

use std::path::Path;

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

pub struct HttpClient {
    runtime: Runtime,
    client: Client,
}

impl HttpClient {
    pub fn new(server: &str, ca: Option<&Path>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the thread of the runtime cannot be started");
        let mut config = Config::new(server.parse().expect("the test cluster announces valid URLs"));
        config.root_cert_file = ca.map(Path::to_path_buf);
        config.default_retry = false;
        let client = {
            let _context = runtime.enter();
            Client::try_from(config).expect("the CA file of the test cluster is not readable")
        };
        Self { runtime, client }
    }

    /// Sends a request, and returns the status code and the body. A body that is not JSON is returned as a string.
    ///
    /// # Panics
    /// If there is no response.
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
        self.send_with_headers(&headers, method, path, body)
    }

    /// Sends a request with only these headers.
    ///
    /// # Panics
    /// If there is no response.
    #[track_caller]
    pub fn send_with_headers(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let request =
            request.body(Body::from(text.into_bytes())).expect("the method, the path and the headers are valid");
        let result = self.runtime.block_on(async {
            let response = self.client.send(request).await?;
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok::<_, kube::Error>((status, bytes))
        });
        let (status, bytes) = result.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        (status, body)
    }
}
