//! A repository in a bucket, on a real server.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{Fixture, Ran, noise};
use crate::lossy::{Line, Loss, Request};
use crate::server::{BUCKET, Kind, SECRET, Server};

/// The options beside the URL.
fn options(server: &Server) -> [String; 4] {
    options_at(server.endpoint(), server)
}

fn options_at(endpoint: String, server: &Server) -> [String; 4] {
    let file = server.credentials_file().display().to_string();
    ["--s3-endpoint".into(), endpoint, "--s3-credentials-file".into(), file]
}

#[test]
fn a_backup_goes_to_a_bucket_and_comes_back() {
    let server = Server::start(Kind::Honours);
    let fixture = Fixture::empty();
    let url = format!("s3://{BUCKET}/edge/1");
    let options = options(&server);
    let s3: Vec<&str> = options.iter().map(String::as_str).collect();
    let on = |args: &[&str]| fixture.run(&[args, &["--json", "--repo", &url], &s3].concat());

    let init = fixture.run(&[&["repo", "init", &url, "--json"], s3.as_slice()].concat()).json();
    assert_eq!((&init["url"], &init["conditionalWrites"]), (&url.as_str().into(), &true.into()));
    let again = fixture.run(&[&["repo", "init", &url, "--json"], s3.as_slice()].concat());
    again.failed(4, "exists", &url);

    let mut bytes = noise(1, 70 << 20);
    let source = fixture.image("source", &bytes);
    let first = on(&["backup", "create", &source, "--standalone"]).json();
    bytes[..1 << 20].copy_from_slice(&noise(2, 1 << 20));
    fixture.image("source", &bytes);
    let second = on(&["backup", "create", &source, "--standalone"]).json();
    assert!(second["newBytes"].as_u64() <= Some(2 << 20), "{second}");
    let list = on(&["backup", "list"]).json();
    let ids: Vec<_> = list["backups"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&first["id"], &second["id"]]);

    let id = second["id"].as_str().unwrap();
    on(&["restore", id, &fixture.arg("target"), "--standalone"]).succeeded();
    assert!(fs::read(fixture.path("target")).unwrap() == bytes);
    assert_eq!(on(&["backup", "verify", id]).json()["ok"], true);
    let status = on(&["repo", "status"]).json();
    assert_eq!((&status["conditionalWrites"], &status["backups"]), (&true.into(), &2.into()));
    on(&["backup", "delete", id, "--yes"]).succeeded();
}

/// A backup that is canceled while the first request of which `is_it` holds meets `loss`. What it said,
/// and the ids of the backups that are listed then.
fn canceled_while(
    is_it: impl Fn(&Request) -> bool + Send + 'static,
    loss: Loss,
) -> (Ran, Vec<String>) {
    let server = Server::start(Kind::Honours);
    let line = Line::to(server.address());
    let fixture = Fixture::empty();
    let url = format!("s3://{BUCKET}/hangs");
    let options = options_at(line.url(), &server);
    let s3: Vec<&str> = options.iter().map(String::as_str).collect();
    fixture.run(&[&["repo", "init", &url], s3.as_slice()].concat()).succeeded();

    let (tell, told) = channel();
    line.plan(move |request| {
        let is_met = is_it(request);
        if is_met {
            let _ = tell.send(());
        }
        is_met.then_some(loss)
    });
    let source = fixture.image("source", &noise(1, 40 << 20));
    let backup = ["backup", "create", &source, "--standalone", "--json", "--repo", &url];
    let mut command = fixture.command(&[&backup, s3.as_slice()].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    Ran::of(Command::new("kill").args(["-INT", &child.id().to_string()])).succeeded();
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    // Without being given up the request is waited for, and made again, for some minutes.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    let ran = Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) };

    line.plan(|_| None);
    let list = [&["backup", "list", "--json", "--repo", &url], s3.as_slice()].concat();
    let list = fixture.run(&list).json();
    let id = |backup: &Value| backup["id"].as_str().unwrap().to_owned();
    (ran, list["backups"].as_array().unwrap().iter().map(id).collect())
}

#[test]
fn an_upload_that_is_canceled_ends_although_the_store_hangs() {
    let late = Loss::LateRequest(Duration::from_secs(3600));
    let (ran, listed) = canceled_while(|request| request.action() == "part", late);
    ran.failed(1, "canceled", "SIGINT");
    assert!(listed.is_empty());
}

#[test]
fn a_cancel_that_comes_with_the_commit_does_not_claim_that_there_is_no_backup() {
    let is_commit = |it: &Request| it.action() == "put" && it.target.contains("/outcome/");
    let late = Loss::LateAnswer(Duration::from_secs(3600));
    let (ran, listed) = canceled_while(is_commit, late);
    let [id] = &listed[..] else { panic!("{listed:?}") };
    ran.failed(1, "in-doubt", id);
}

#[test]
fn a_configured_bucket_needs_its_name_only() {
    let server = Server::start(Kind::Ignores);
    let fixture = Fixture::empty();
    let mut config = fs::read_to_string(fixture.path("config.toml")).unwrap();
    config += &format!(
        "[repositories.home]\nurl = \"s3://{BUCKET}/home\"\n\
         [repositories.home.s3]\nendpoint = {:?}\ncredentials_file = {:?}\n",
        server.endpoint(),
        server.credentials_file(),
    );
    fs::write(fixture.path("config.toml"), config).unwrap();
    let init = fixture.run(&["repo", "init", "home", "--json"]).json();
    assert_eq!(init["conditionalWrites"], false, "that server overwrites");
    let bytes = noise(1, 5 << 20);
    let source = fixture.image("source", &bytes);
    fixture.run(&["backup", "create", &source, "--standalone"]).succeeded();
    let target = fixture.arg("target");
    fixture.run(&["restore", "latest", &target, "--source", &source, "--standalone"]).succeeded();
    assert!(fs::read(fixture.path("target")).unwrap() == bytes);

    let both = ["repo", "status", "--repo", "home", "--s3-region", "x", "--json"];
    fixture.run(&both).failed(2, "usage", "go with a URL");
}

#[test]
fn systemd_may_hand_over_the_access_key_and_the_passphrase() {
    let server = Server::start(Kind::Honours);
    let fixture = Fixture::empty();
    let handed = fixture.path("credentials");
    fs::create_dir(&handed).unwrap();
    fs::copy(server.credentials_file(), handed.join("thinmover.s3-credentials")).unwrap();
    fs::write(handed.join("thinmover.passphrase"), "handed over\n").unwrap();
    let url = format!("s3://{BUCKET}/x");
    let endpoint = server.endpoint();
    let at = |words: &[&str]| {
        let words = [words, &["--s3-endpoint", &endpoint, "--json"]].concat();
        Ran::of(fixture.command_without_passphrase(&words).env("CREDENTIALS_DIRECTORY", &handed))
    };
    at(&["repo", "init", &url]).succeeded();
    let status = ["repo", "status", "--repo", &url];
    assert_eq!(at(&status).json()["backups"], 0);
    fs::write(handed.join("thinmover.passphrase"), "another\n").unwrap();
    at(&status).failed(1, "wrong-passphrase", &url);
}

#[test]
fn a_host_without_ca_certificates_needs_some_for_https_only() {
    let server = Server::start(Kind::Honours);
    let fixture = Fixture::empty();
    let url = format!("s3://{BUCKET}/x");
    let at = |endpoint: &str| {
        let options = options_at(endpoint.to_owned(), &server);
        let words = ["repo", "init", &url, "--json"].map(str::to_owned);
        let words = [words.as_slice(), &options].concat();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (none, no_folder) = ("/dev/null", fixture.path("none"));
        Ran::of(fixture.command(&words).env("SSL_CERT_FILE", none).env("SSL_CERT_DIR", no_folder))
    };
    at("https://127.0.0.1:1").failed(2, "usage", "install ca-certificates");
    at(&server.endpoint()).succeeded();
}

#[test]
fn options_that_do_not_fit_are_usage_errors() {
    let fixture = Fixture::new();
    let refused = |args: &[&str], about: &str| {
        fixture.run(&[args, &["--json"]].concat()).failed(2, "usage", about)
    };
    let (file, bucket) = (fixture.url(), "s3://bucket/prefix");
    refused(&["repo", "status", "--repo", &file, "--s3-region", "x"], "no s3:// address");
    refused(&["repo", "status", "--repo", bucket], "no credentials are named");
    refused(&["repo", "status", "--repo", bucket, "--s3-endpoint", "host"], "https://");
    let proxy = ["--s3-proxy", "http://user:pass@proxy"];
    let told = refused(&[&["repo", "status", "--repo", bucket], &proxy[..]].concat(), "proxy");
    assert!(!told.stdout.contains("pass@"), "{told:?}");
    let job = ["backup", "create", "/x", "--repo", bucket, "--s3-region", "x"];
    refused(&job, "not for the agent");
}

#[test]
fn a_wrong_key_is_an_error_that_says_so_and_does_not_show_it() {
    let server = Server::start(Kind::Honours);
    let fixture = Fixture::empty();
    let wrong = fs::read_to_string(server.credentials_file()).unwrap().replace(SECRET, "wr0ng");
    fs::write(fixture.path("credentials"), wrong).unwrap();
    let url = format!("s3://{BUCKET}/x");
    let file = fixture.arg("credentials");
    let ran = fixture.run(&[
        "repo",
        "init",
        &url,
        "--json",
        "--s3-endpoint",
        &server.endpoint(),
        "--s3-credentials-file",
        &file,
    ]);
    assert_ne!(ran.code, 0);
    assert!(ran.stdout.contains("SignatureDoesNotMatch"), "{ran:?}");
    assert!(!format!("{ran:?}").contains("wr0ng"), "{ran:?}");
}
