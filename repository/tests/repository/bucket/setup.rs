//! How a bucket is reached: keys, proxies, certificates, encryption, and what is said of mistakes.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thinmover_io::IoEngine;
use thinmover_repository::store::{
    Creation, S3Encryption, S3Options, StoreErrorKind, open_store_with,
};

use super::super::support::lossy::{Line, Loss};
use super::super::support::server::{BUCKET, Kind, SECRET, Server};
use super::super::support::*;
use super::{Pair, message};

#[test]
fn a_key_that_is_replaced_is_used_from_then_on() {
    let server = Server::start(Kind::Honours);
    let store = open_bucket("p", &bucket_options(&server));
    let file = server.credentials_file();
    let right = std::fs::read_to_string(&file).unwrap();
    store.create("a", b"1").unwrap();
    std::fs::write(&file, right.replace(SECRET, "another")).unwrap();
    let told = message(store.get("a", 1), StoreErrorKind::PermissionDenied);
    assert!(told.contains("SignatureDoesNotMatch") && told.contains("secret key"), "{told}");
    std::fs::write(&file, &right).unwrap();
    assert_eq!(store.get("a", 1).unwrap(), b"1");
    std::fs::write(&file, "[default]\n").unwrap();
    assert_eq!(store.get("a", 1).unwrap(), b"1", "half a file is not taken");
    assert!(!format!("{store:?}").contains(SECRET));
}

#[test]
fn a_proxy_is_used_where_one_is_named() {
    let server = Server::start(Kind::Honours);
    let line = Line::to(server.address());
    let options = S3Options { proxy: Some(line.url()), ..bucket_options(&server) };
    open_bucket("p", &options).create("a", b"1").unwrap();
    let [request] = line.take().try_into().unwrap();
    assert!(request.target.starts_with(&server.endpoint()), "{}", request.target);
}

#[test]
fn the_store_is_told_how_to_encrypt() {
    let pair = Pair::new();
    let file = pair.options.credentials_file.clone().unwrap().with_file_name("customer-key");
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    std::fs::write(&file, format!("{key}\n")).unwrap();
    pair.line.plan(|_| Some(Loss::Instead(403, "AccessDenied")));
    let name = "x-amz-server-side-encryption";
    for (encryption, expected) in [
        (S3Encryption::Aes256, vec![("", "AES256")]),
        (S3Encryption::Kms { key_id: None }, vec![("", "aws:kms")]),
        (
            S3Encryption::Kms { key_id: Some("alias/edge".into()) },
            vec![("", "aws:kms"), ("-aws-kms-key-id", "alias/edge")],
        ),
        (
            S3Encryption::CustomerKey { file },
            vec![("-customer-algorithm", "AES256"), ("-customer-key", key)],
        ),
    ] {
        let is_customer = matches!(encryption, S3Encryption::CustomerKey { .. });
        let options = S3Options { encryption: Some(encryption), ..pair.options.clone() };
        let store = open_bucket("p", &options);
        let told = message(store.create("a", b"1"), StoreErrorKind::PermissionDenied);
        assert!(!told.contains(key) && !format!("{store:?}{options:?}").contains(key));
        let mut writer = store.writer("b", 32 << 20).unwrap();
        drop(writer.append(&noise(1, 9 << 20)));
        drop(writer);
        message(store.get("a", 1), StoreErrorKind::PermissionDenied);
        for request in pair.line.take() {
            for (rest, value) in &expected {
                let needed = match request.action() {
                    "put" | "begin" => true,
                    "get" | "part" => is_customer,
                    _ => false,
                };
                let found = request.header(&format!("{name}{rest}"));
                assert_eq!(found, needed.then_some(*value), "{request:?}");
            }
        }
    }
}

#[test]
fn what_is_set_up_wrongly_is_said() {
    let server = Server::start(Kind::Honours);
    let right = bucket_options(&server);
    let read = |bucket: &str, options: &S3Options| {
        let store =
            open_store_with(&format!("s3://{bucket}"), &IoEngine::default(), options).unwrap();
        let began = Instant::now();
        let list = store.list("", &mut |_| ControlFlow::Continue(()));
        assert!(began.elapsed() < Duration::from_secs(15));
        let error = list.unwrap_err();
        assert_ne!(error.kind, StoreErrorKind::NotFound, "{error}");
        error.to_string()
    };
    let with = |endpoint: &str| S3Options { endpoint: Some(endpoint.into()), ..right.clone() };
    let told = read("none", &right);
    assert!(told.contains("NoSuchBucket") && told.contains("make the bucket"), "{told}");
    let told = read(BUCKET, &with("http://127.0.0.1:1"));
    assert!(told.contains("refused") && told.contains("check `endpoint`"), "{told}");
    let told = read(BUCKET, &with(&server.endpoint().replace("http", "https")));
    assert!(told.contains("plain HTTP"), "{told}");
    let told = read(BUCKET, &S3Options { region: Some("eu-west-1".into()), ..right.clone() });
    assert!(told.contains("region"), "{told}");

    let missing = S3Options { credentials_file: Some(PathBuf::from("/none")), ..right.clone() };
    let error = open_store_with("s3://backup", &IoEngine::default(), &missing).unwrap_err();
    assert!(error.to_string().contains("credentials file /none cannot be read"), "{error}");
}

#[test]
fn a_certificate_is_trusted_only_by_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(at(name), params.self_signed(&key).unwrap().pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    let (ours, _) = (authority("ours"), authority("another"));
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(at("cert"), params.signed_by(&key, &ours).unwrap().pem()).unwrap();
    std::fs::write(at("key"), key.serialize_pem()).unwrap();

    let server = Server::start_tls(&at("cert"), &at("key"));
    let with = |ca_file: Option<&str>| {
        let options = S3Options { ca_file: ca_file.map(at), ..bucket_options(&server) };
        open_bucket("p", &options)
    };
    assert_eq!(with(Some("ours")).create("a", b"1").unwrap(), Creation::Created);
    for wrong in [None, Some("another")] {
        let began = Instant::now();
        let told = message(with(wrong).create("b", b"1"), StoreErrorKind::Other);
        assert!(told.contains("UnknownIssuer") && told.contains("`ca_file`"), "{told}");
        assert!(began.elapsed() < Duration::from_secs(5), "it is not tried again");
    }
}
