//! Certificate directories as HTEX writes them, and with errors; ZAP by its frames.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use submit_side::curve::{self, BadRequest, Certificates, Keyring, PublicKey, Verdict};
use tempfile::TempDir;

// Made by `zmq.curve_keypair()`. The keys contain the characters that are special in ZPL: `=`, `#`
// and neighbours of quotes.
const SERVER: [&str; 2] = [
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
    "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
];
const CLIENT: [&str; 2] = [
    "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
];
const OTHER: &str = "=#=#==#=#==#=#==#=#==#=#==#=#==#=#==#=#=";

#[test]
fn a_directory_of_htex_gives_all_keys() {
    let dir = certificates();
    let loaded = Certificates::load(dir.path()).unwrap();
    assert_eq!(*loaded.server_secret().as_bytes(), bytes(SERVER[1]));
    let hub = loaded.hub().unwrap();
    assert_eq!(hub.server_public.to_z85(), SERVER[0]);
    assert_eq!(hub.client_public.to_z85(), CLIENT[0]);
    assert_eq!(*hub.client_secret.as_bytes(), bytes(CLIENT[1]));
    // Every public key in a *.key file is admitted, including the server's; no other key is.
    for (key, admitted) in [
        (SERVER[0], true),
        (CLIENT[0], true),
        (CLIENT[1], false),
        (SERVER[1], false),
    ] {
        assert_eq!(loaded.keyring().admits(&bytes(key)), admitted, "{key}");
    }
    assert!(loaded.without_effect().is_empty());
}

#[test]
fn no_secret_is_ever_shown() {
    let dir = certificates();
    let shown = format!("{:?}", Certificates::load(dir.path()).unwrap());
    let spoilt = format!(
        "public-key = \"{}\"\nsecret-key = \"{}x\"\n",
        SERVER[0], SERVER[1]
    );
    fs::write(dir.path().join("server.key_secret"), spoilt).unwrap();
    let error = Certificates::load(dir.path()).unwrap_err();
    for text in [shown, format!("{error:?}"), format!("{error}")] {
        assert!(
            !text.contains(&SERVER[1][..8]) && !text.contains(&CLIENT[1][..8]),
            "{text}"
        );
        assert!(
            !text.contains(&format!("{:?}", bytes(SERVER[1]))[1..20]),
            "{text}"
        );
    }
}

#[test]
fn the_set_of_clients_is_every_key_file_that_a_glob_finds() {
    let dir = certificates();
    let add = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    add("third.key", &format!("public-key={OTHER}"));
    add("broken.key", "public-key = \"too short\"");
    add("empty.key", "public-key =");
    add(".hidden.key", "nothing");
    add("notes.txt", "nothing");
    add("third.key~", "nothing");
    symlink(dir.path().join("third.key"), dir.path().join("link.key")).unwrap();
    let loaded = Certificates::load(dir.path()).unwrap();
    assert!(loaded.keyring().admits(&bytes(OTHER)));
    assert!(loaded.keyring().admits(&bytes(CLIENT[0])));
    let mut idle = loaded.without_effect().to_vec();
    idle.sort();
    assert_eq!(
        idle,
        [dir.path().join("broken.key"), dir.path().join("empty.key")]
    );
}

type Spoil = fn(&Path);

/// Each entry damages a directory; then come the file that the error names, and part of its text.
const SPOILT: [(Spoil, &str, &str); 12] = [
    (
        |dir| set_mode(dir, 0o755),
        "",
        "must have mode 0700, but has 0755",
    ),
    (
        |dir| set_mode(dir, 0o500),
        "",
        "must have mode 0700, but has 0500",
    ),
    (
        |dir| fs::remove_dir_all(dir).expect("it is there"),
        "",
        "cannot be read",
    ),
    (
        |dir| remove(dir, "server.key_secret"),
        "/server.key_secret",
        "cannot be read",
    ),
    (
        |dir| write(dir, "server.key_secret", ""),
        "/server.key_secret",
        "public-key",
    ),
    (
        |dir| {
            write(
                dir,
                "server.key_secret",
                &format!("public-key = '{}'", SERVER[0]),
            )
        },
        "/server.key_secret",
        "secret-key",
    ),
    (
        |dir| write(dir, "server.key_secret", "public-key=a\nsecret-key=b"),
        "/server.key_secret",
        "secret key must be 40 characters of Z85",
    ),
    (
        |dir| write(dir, "client.key", "curve\npublic-key"),
        "/client.key",
        "line 2",
    ),
    (
        |dir| write(dir, "new.key", "no key in here"),
        "/new.key",
        "public-key",
    ),
    (
        |dir| write(dir, "new.key", &" ".repeat(70_000)),
        "/new.key",
        "larger than 65536",
    ),
    (
        |dir| fs::create_dir(dir.join("new.key")).expect("it can be made"),
        "/new.key",
        "regular file",
    ),
    (
        |dir| symlink("nowhere", dir.join("new.key")).expect("it can be made"),
        "/new.key",
        "cannot be read",
    ),
];

#[test]
fn errors_name_the_file_and_what_was_expected() {
    for (spoil, file, expected) in SPOILT {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("certificates");
        write_certificates(&dir);
        spoil(&dir);
        let error = Certificates::load(&dir).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}{file}: ", dir.display())),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}

/// Opening a FIFO would wait for a writer that never comes.
#[test]
fn a_pipe_is_not_opened() {
    let dir = certificates();
    let fifo = dir.path().join("pipe.key");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = Certificates::load(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("pipe.key: a certificate must be a regular file"),
        "{error}"
    );
}

#[test]
fn hub_keys_may_be_missing_without_monitoring() {
    let dir = certificates();
    remove(dir.path(), "client.key_secret");
    let loaded = Certificates::load(dir.path()).unwrap();
    let error = loaded.hub().unwrap_err().to_string();
    assert!(
        error.contains("client.key_secret: cannot be read"),
        "{error}"
    );

    let dir = certificates();
    let server = format!("public-key = nobody\nsecret-key = {}", SERVER[1]);
    write(dir.path(), "server.key_secret", &server);
    let loaded = Certificates::load(dir.path()).unwrap();
    let error = loaded.hub().unwrap_err().to_string();
    assert!(
        error.contains("server.key_secret: the public key must be 40"),
        "{error}"
    );
}

#[test]
fn only_a_known_curve_key_is_admitted() {
    let ring: Keyring = [PublicKey::from_z85(CLIENT[0].as_bytes()).unwrap()]
        .into_iter()
        .collect();
    let (known, unknown) = (bytes(CLIENT[0]), bytes(OTHER));
    let admit = Verdict::Admit {
        user_id: CLIENT[0].to_owned(),
    };
    let refuse = |reason| Verdict::Refuse { reason };
    type Case<'a> = (&'a [u8], &'a [&'a [u8]], Verdict);
    let cases: [Case<'_>; 9] = [
        (b"CURVE", &[&known], admit),
        (b"CURVE", &[&unknown], refuse("Unknown key")),
        (b"CURVE", &[&known[..31]], refuse("Invalid credentials")),
        (
            b"CURVE",
            &[CLIENT[0].as_bytes()],
            refuse("Invalid credentials"),
        ),
        (b"CURVE", &[], refuse("Invalid credentials")),
        (b"CURVE", &[&known, &known], refuse("Invalid credentials")),
        (b"NULL", &[], refuse("Not CURVE")),
        (b"PLAIN", &[b"user", b"password"], refuse("Not CURVE")),
        (b"curve", &[&known], refuse("Not CURVE")),
    ];
    for (mechanism, credentials, verdict) in cases {
        let mut frames: Vec<&[u8]> = vec![b"1.0", b"7", b"htex", b"10.0.0.1", b"id", mechanism];
        frames.extend(credentials);
        let request = curve::parse(&frames).unwrap();
        assert_eq!(
            (request.request_id, request.domain),
            (&b"7"[..], &b"htex"[..])
        );
        assert_eq!(
            (request.address, request.identity),
            (&b"10.0.0.1"[..], &b"id"[..])
        );
        assert_eq!(ring.judge(&request), verdict, "{frames:?}");
    }
}

#[test]
fn frames_that_are_no_request_are_an_error() {
    let five = [&b"1.0"[..], b"7", b"", b"10.0.0.1", b""];
    assert_eq!(curve::parse(&five), Err(BadRequest::TooFewFrames(5)));
    assert_eq!(
        curve::parse::<Vec<u8>>(&[]),
        Err(BadRequest::TooFewFrames(0))
    );
    let other = [&b"2.0"[..], b"7", b"", b"10.0.0.1", b"", b"CURVE"];
    assert_eq!(curve::parse(&other), Err(BadRequest::Version));
}

#[test]
fn replies_have_the_six_frames_of_rfc_27() {
    let admit = curve::reply(
        b"\x00\x07",
        &Verdict::Admit {
            user_id: CLIENT[0].to_owned(),
        },
    );
    assert_eq!(
        admit,
        [
            &b"1.0"[..],
            b"\x00\x07",
            b"200",
            b"OK",
            CLIENT[0].as_bytes(),
            b""
        ]
    );
    let refuse = curve::reply(
        b"8",
        &Verdict::Refuse {
            reason: "Unknown key",
        },
    );
    assert_eq!(
        refuse,
        [&b"1.0"[..], b"8", b"400", b"Unknown key", b"", b""]
    );
}

fn certificates() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    write_certificates(dir.path());
    dir
}

/// Writes the files that `parsl.curvezmq.create_certificates` makes.
fn write_certificates(dir: &Path) {
    fs::create_dir_all(dir).expect("it can be made");
    set_mode(dir, 0o700);
    for (name, [public_key, secret_key]) in [("server", SERVER), ("client", CLIENT)] {
        let head = "#   ****  Generated on 2026-10-26 12:00:00.000001 by pyzmq  ****\n\
                    #   ZeroMQ CURVE Certificate\n#   secret-key = \"of somebody else\"\n\n\
                    metadata\ncurve\n";
        let public = format!("{head}    public-key = \"{public_key}\"\n");
        write(dir, &format!("{name}.key"), &public);
        let secret = format!("{public}    secret-key = \"{secret_key}\"\n");
        write(dir, &format!("{name}.key_secret"), &secret);
    }
}

fn write(dir: &Path, name: &str, content: &str) {
    fs::write(dir.join(name), content).expect("it can be written");
}

fn remove(dir: &Path, name: &str) {
    fs::remove_file(dir.join(name)).expect("it is there");
}

fn set_mode(dir: &Path, mode: u32) {
    fs::set_permissions(dir, Permissions::from_mode(mode)).expect("it is ours");
}

fn bytes(z85: &str) -> [u8; 32] {
    *PublicKey::from_z85(z85.as_bytes())
        .expect("a key")
        .as_bytes()
}
