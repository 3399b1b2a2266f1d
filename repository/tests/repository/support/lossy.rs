//! A line to a server that loses, delays and damages what goes over it, request by request. Also a
//! proxy, for a client that is told of one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It does not arrive.
    Request,
    /// It arrives, and its answer does not.
    Answer,
    /// It arrives at once, its answer late.
    LateAnswer(Duration),
    /// It arrives late, whether or not anybody still waits.
    LateRequest(Duration),
    /// It does not arrive; this is the answer.
    Instead(u16, &'static str),
    /// Of the answer's body half arrives.
    HalfAnswer,
    /// The server does not see that a range was asked for.
    Range,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, or a whole address if it came as to a proxy.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// What S3 calls it.
    pub(crate) fn action(&self) -> &'static str {
        let has = |text: &str| self.target.contains(text);
        match self.method.as_str() {
            "PUT" if has("partNumber=") => "part",
            "PUT" => "put",
            "POST" if has("uploads") => "begin",
            "POST" => "complete",
            "DELETE" if has("uploadId=") => "abort",
            "DELETE" => "delete",
            "HEAD" => "head",
            "GET" if has("list-type=2") => "list",
            _ => "get",
        }
    }
}

type Plan = Box<dyn FnMut(&Request) -> Option<Loss> + Send>;

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    seen: Vec<Request>,
}

/// The line. It listens until the process ends.
#[derive(Clone)]
pub(crate) struct Line {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Line {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let line = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let shared = line.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let line = shared.clone();
                // A connection that breaks is what this is for.
                thread::spawn(move || line.serve(client, server));
            }
        });
        line
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on `plan` is asked for every request.
    pub(crate) fn plan(&self, plan: impl FnMut(&Request) -> Option<Loss> + Send + 'static) {
        self.state.lock().unwrap().plan = Some(Box::new(plan));
    }

    /// The first `times` requests of this action meet `loss`.
    pub(crate) fn lose(&self, action: &'static str, mut times: usize, loss: Loss) {
        self.plan(move |request| {
            let is_met = request.action() == action && times > 0;
            times -= usize::from(is_met);
            is_met.then_some(loss)
        });
    }

    /// The requests since the last call.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// Their actions.
    pub(crate) fn actions(&self) -> Vec<&'static str> {
        self.take().iter().map(Request::action).collect()
    }

    fn decide(&self, request: &Request) -> Option<Loss> {
        let mut state = self.state.lock().unwrap();
        state.seen.push(request.clone());
        state.plan.as_mut().and_then(|plan| plan(request))
    }

    /// One request; every connection serves one.
    fn serve(&self, client: TcpStream, server: SocketAddr) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let (request, body) = read_request(&mut reader)?;
        let mut client = client;
        let loss = self.decide(&request);
        match loss {
            Some(Loss::Request) => return None,
            Some(Loss::Instead(status, code)) => {
                let body = format!("<Error><Code>{code}</Code><Message>As told.</Message></Error>");
                let head = format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\n", body.len());
                let answer = format!("{head}Connection: close\r\n\r\n{body}");
                return client.write_all(answer.as_bytes()).ok();
            }
            Some(Loss::LateRequest(delay)) => thread::sleep(delay),
            _ => {}
        }
        let mut answer = forward(&request, &body, server, loss == Some(Loss::Range))?;
        match loss {
            Some(Loss::Answer) => return None,
            Some(Loss::LateAnswer(delay)) => thread::sleep(delay),
            Some(Loss::HalfAnswer) => {
                let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
                answer.truncate(head + (answer.len() - head) / 2);
            }
            _ => {}
        }
        client.write_all(&answer).ok()
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<(Request, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let request = Request { method, target, headers };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request, body))
}

/// The whole answer.
fn forward(
    request: &Request,
    body: &[u8],
    server: SocketAddr,
    is_range_lost: bool,
) -> Option<Vec<u8>> {
    // As to a proxy: http://host/path.
    let target = request.target.split_once("://").map_or(request.target.as_str(), |(_, rest)| {
        rest.find('/').map_or("/", |slash| &rest[slash..])
    });
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method);
    for (name, value) in &request.headers {
        if !(name == "connection" || is_range_lost && name == "range") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    let mut upstream = TcpStream::connect(server).ok()?;
    upstream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).ok()?;
    upstream.write_all(body).ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).ok()?;
    Some(answer)
}
