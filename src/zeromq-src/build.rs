//! Passes the location of libsodium's build to `Build`, which runs later, inside zmq-sys.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["LIB", "INCLUDE"] {
        let value = env::var(format!("DEP_SODIUM_{name}"))
            .unwrap_or_else(|_| panic!("libsodium-sys-stable did not say DEP_SODIUM_{name}"));
        println!("cargo:rustc-env=SODIUM_{name}={value}");
    }
}
