//! Statements of a run: signed by keys of others' tools, checked by us and by them.

use std::path::Path;
use std::process::Command;

use super::project::{Project, Ran, replace, spec};

/// A key pair made by `openssl`, as CI has it.
fn openssl_key(project: &Project, name: &str) {
    let (key, public) = (format!("{name}.pem"), format!("{name}.pub.pem"));
    let make = ["genpkey", "-algorithm", "ed25519", "-out", &key];
    tool(project, "openssl", &make);
    tool(
        project,
        "openssl",
        &["pkey", "-in", &key, "-pubout", "-out", &public],
    );
}

/// A key pair made by `ssh-keygen`.
fn ssh_key(project: &Project, name: &str, passphrase: &str) {
    let make = [
        "-q",
        "-t",
        "ed25519",
        "-C",
        "ci@example.org",
        "-N",
        passphrase,
        "-f",
        name,
    ];
    tool(project, "ssh-keygen", &make);
}

fn tool(project: &Project, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(project.path(""))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// What it says, with what differs from run to run named.
fn told(project: &Project, ran: &Ran) -> String {
    let folder = project.run_folder();
    let folder = project.plain(folder.to_str().unwrap());
    let run = folder.rsplit('/').next().unwrap().to_owned();
    let text = format!("exit {}:\n{}{}", ran.code.unwrap(), ran.out, ran.err);
    let text = text.replace(&folder, "RUN").replace(&run, "RUN");
    let mut words: Vec<&str> = text.split(' ').collect();
    for at in 1..words.len() {
        if words[at].starts_with("dependencies,") {
            // As many as the distribution of the day has.
            words[at - 1] = "N";
        }
    }
    let mut text = words.join(" ");
    let digest = |word: &&str| word.to_lowercase().starts_with("sha256:");
    let ends = |c: char| c.is_whitespace() || ",()".contains(c);
    let long: Vec<String> = text.split(ends).filter(digest).map(str::to_owned).collect();
    for word in long {
        let kind = word.split(':').next().unwrap();
        text = text.replace(&word, &format!("{kind}:…"));
    }
    text
}

fn check(project: &Project, arguments: &[&str]) -> String {
    let verb = [&["verify-attestation"], arguments].concat();
    told(project, &project.run(&verb))
}

/// Flips a byte in the middle of a file.
fn damage(path: &Path) -> Vec<u8> {
    let good = fs_err::read(path).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] = if bad[middle] == b'A' { b'B' } else { b'A' };
    replace(path, &bad);
    good
}

#[test]
#[expect(clippy::too_many_lines, reason = "one run, a message for each case")]
fn statements_are_signed_and_checked_and_nothing_false_passes() {
    for program in ["openssl", "ssh-keygen"] {
        if Command::new(program).arg("-?").output().is_err() {
            return crate::conformance::skip(&format!("there is no {program}"));
        }
    }
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.package(
        "user",
        &spec("user", "BuildRequires: hello\nSource0: words.txt"),
    );
    project.write("packages/user/words.txt", "words\n");
    openssl_key(&project, "good");
    openssl_key(&project, "other");
    project.good(&[
        "build",
        "--attest-key",
        "good.pem",
        "--builder-id",
        "https://ci.example/x",
    ]);
    let run = project.run_folder();
    let run = run.to_str().unwrap();
    let file = format!("{run}/attestations/user.intoto.jsonl");
    let package = format!("{run}/repository/user-1-1.noarch.rpm");
    let key = ["--key", "good.pub.pem"];
    let against = [&[file.as_str()], key.as_slice(), &["--record", run]].concat();
    insta::assert_snapshot!(check(&project, &against), @"
    exit 0:
    good  RUN/attestations/user.intoto.jsonl: `user` of trial, run RUN, builder https://ci.example/x, N dependencies, signed by SHA256:…
    good  RUN/repository/user-1-1.noarch.rpm: sha256:…, as stated
    good  RUN/repository/user-1-1.src.rpm: sha256:…, as stated
    ");
    openssl_agrees(&project, &file);
    // Packages, statements, signatures and keys that are not what they should be.
    let mut texts = Vec::new();
    let good = damage(Path::new(&package));
    texts.push(check(&project, &against));
    texts.push(told(
        &project,
        &project.run(&["attest", "--key", "good.pem"]),
    ));
    replace(Path::new(&package), &good);
    let good = damage(Path::new(&file));
    texts.push(check(&project, &against));
    replace(Path::new(&file), &good);
    texts.push(check(&project, &[&file, "--key", "other.pub.pem"]));
    texts.push(check(&project, &[&file, "--key", "good.pem"]));
    let hello = format!("{run}/repository/hello-1-1.noarch.rpm");
    texts.push(check(&project, &[&file, &package, &hello, key[0], key[1]]));
    texts.push(check(
        &project,
        &[
            &file,
            "--key",
            "good.pub.pem",
            "--builder-id",
            "https://ci.example/y",
        ],
    ));
    let lock = project.read("pristine.lock");
    let other = lock.replace("epoch = ", "epoch = 1");
    project.write("other.lock", other);
    texts.push(check(
        &project,
        &[&file, "--key", "good.pub.pem", "--lock", "other.lock"],
    ));
    insta::assert_snapshot!(texts.join("\n"), @"
    exit 1:
    good  RUN/attestations/user.intoto.jsonl: `user` of trial, run RUN, builder https://ci.example/x, N dependencies, signed by SHA256:…
    BAD   RUN/repository/user-1-1.noarch.rpm: it is sha256:…, the statement says sha256:…
    good  RUN/repository/user-1-1.src.rpm: sha256:…, as stated
    warning: 1 of 3 do not hold

    exit 3:
    error: `RUN/repository/user-1-1.noarch.rpm` is not what the record says: expected sha256:…, found sha256:…
      hint: a statement is made of what the build left: build again, or fetch the run's folder anew

    exit 1:
    BAD   RUN/attestations/user.intoto.jsonl: its signature is by none of the given keys, or it was changed (its signer says: SHA256:…)
    warning: 1 of 1 do not hold

    exit 1:
    BAD   RUN/attestations/user.intoto.jsonl: its signature is by none of the given keys, or it was changed (its signer says: SHA256:…)
    warning: 1 of 1 do not hold

    exit 2:
    error: cannot use the key `good.pem`: it is a private key, and checking takes the public one
      hint: name the other half

    exit 1:
    good  RUN/attestations/user.intoto.jsonl: `user` of trial, run RUN, builder https://ci.example/x, N dependencies, signed by SHA256:…
    good  RUN/repository/user-1-1.noarch.rpm: sha256:…, as stated
    BAD   RUN/repository/hello-1-1.noarch.rpm: no statement that holds is about it
    warning: 1 of 3 do not hold

    exit 1:
    BAD   RUN/attestations/user.intoto.jsonl: its `builder.id` is `https://ci.example/x`, expected `https://ci.example/y`
    warning: 1 of 1 do not hold

    exit 1:
    BAD   RUN/attestations/user.intoto.jsonl: its dependencies are not those of the lock:
      it lacks lock `pristine.lock` (sha256:…)
      it adds lock `pristine.lock` (sha256:…)
    warning: 1 of 1 do not hold
    ");
    ssh_keys_sign_too(&project);
    what_was_taken_over_has_the_statement_of_its_own_run(&project);
}

/// A package that a run took from an earlier one was built by that one, or nothing is said of it.
fn what_was_taken_over_has_the_statement_of_its_own_run(project: &Project) {
    let first = project.run_folder();
    project.good(&["build", "--since", "latest", "--attest-key", "good.pem"]);
    let second = project.run_folder();
    let file = second.join("attestations/user.intoto.jsonl");
    let check = |record: &Path| {
        project.run(&[
            "verify-attestation",
            file.to_str().unwrap(),
            "--key",
            "good.pub.pem",
            "--record",
            record.to_str().unwrap(),
        ])
    };
    let ran = check(&first);
    assert_eq!(ran.code, Some(0), "{}", ran.all());
    let ran = check(&second);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert!(ran.out.contains("whose record is the one to look at"));
    fs_err::rename(&first, project.path("away")).unwrap();
    let ran = project.run(&["attest", "--key", "good.pem", "--output", "none"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    assert!(
        ran.err
            .contains("no statement of `user`: it was built in the run")
    );
    assert!(super::project::files(&project.path("none")).is_empty());
    fs_err::rename(project.path("away"), &first).unwrap();
}

/// `openssl` finds the same signature good, and that of other bytes bad.
fn openssl_agrees(project: &Project, file: &str) {
    let envelope = fs_err::read(file).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    let part = |text: &serde_json::Value, into: &str| {
        project.write("in.b64", text.as_str().unwrap());
        tool(
            project,
            "openssl",
            &["base64", "-d", "-A", "-in", "in.b64", "-out", into],
        );
        fs_err::read(project.path(into)).unwrap()
    };
    let payload = part(&envelope["payload"], "payload");
    let _sig = part(&envelope["signatures"][0]["sig"], "sig");
    let kind = envelope["payloadType"].as_str().unwrap();
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    project.write("pae", [head.as_bytes(), &payload].concat());
    let verify = [
        "pkeyutl",
        "-verify",
        "-rawin",
        "-pubin",
        "-inkey",
        "good.pub.pem",
        "-sigfile",
        "sig",
        "-in",
    ];
    tool(project, "openssl", &[verify.as_slice(), &["pae"]].concat());
    let other = Command::new("openssl")
        .args(verify)
        .arg("payload")
        .current_dir(project.path(""))
        .output()
        .unwrap();
    assert!(!other.status.success());
}

/// Keys of `ssh-keygen`: plain, encrypted, and as one of the allowed signers; no key at all.
fn ssh_keys_sign_too(project: &Project) {
    ssh_key(project, "id", "");
    ssh_key(project, "secret", "passphrase");
    let mut texts = vec![told(
        project,
        &project.run(&["attest", "--key", "secret", "--output", "out"]),
    )];
    project.good(&["attest", "--key", "id", "--output", "out"]);
    let public = project.read("id.pub");
    project.write("allowed", format!("ci@example.org {public}"));
    let packages = project.run_folder().join("repository/user-1-1.noarch.rpm");
    let packages = packages.to_str().unwrap();
    texts.push(check(
        project,
        &["out/user.intoto.jsonl", packages, "--key", "id.pub"],
    ));
    texts.push(check(
        project,
        &[
            "out/user.intoto.jsonl",
            packages,
            "--allowed-signers",
            "allowed",
        ],
    ));
    texts.push(check(
        project,
        &["out/user.intoto.jsonl", "--key", "id.pub"],
    ));
    texts.push(told(project, &project.run(&["attest", "--output", "bare"])));
    texts.push(check(
        project,
        &["bare/user.statement.json", packages, "--key", "id.pub"],
    ));
    let fingerprint = tool(project, "ssh-keygen", &["-lf", "id.pub"]);
    let fingerprint = String::from_utf8(fingerprint).unwrap();
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    assert!(project.read("out/user.intoto.jsonl").contains(fingerprint));
    insta::assert_snapshot!(texts.join("\n"), @r#"
    exit 2:
    error: cannot use the key `secret`: it is encrypted, and nothing is asked for while packages are built
      hint: give the machine that signs a copy without a passphrase: ssh-keygen -p -N "" -f COPY, or openssl pkey -in KEY -out COPY

    exit 0:
    good  out/user.intoto.jsonl: `user` of trial, run RUN, builder urn:pristine:builder, N dependencies, signed by SHA256:… (ci@example.org)
    good  RUN/repository/user-1-1.noarch.rpm: sha256:…, as stated

    exit 0:
    good  out/user.intoto.jsonl: `user` of trial, run RUN, builder urn:pristine:builder, N dependencies, signed by SHA256:… (ci@example.org)
    good  RUN/repository/user-1-1.noarch.rpm: sha256:…, as stated

    exit 2:
    error: the statements hold, but none of their packages lies beside them: nothing was held against them
      hint: name the packages, too: pristine verify-attestation FILE… *.rpm --key PUB

    exit 0:
    bare/hello.statement.json
    bare/user.statement.json
    2 statements, NOT signed: nobody vouches for what they say (--key FILE signs them)

    exit 1:
    BAD   bare/user.statement.json: it is an unsigned statement: nobody vouches for what it says
    BAD   RUN/repository/user-1-1.noarch.rpm: no statement that holds is about it
    warning: 2 of 2 do not hold
    "#);
}

/// A part of the program, which may run where the checkout is out of reach.
static SCHEMAS: include_dir::Dir<'_> =
    include_dir::include_dir!("$CARGO_MANIFEST_DIR/tests/it/fixtures/schemas");

/// The published schema of which `name` is the file, with those that it refers to.
fn schema(name: &str, beside: &[&str]) -> (boon::Schemas, boon::SchemaIndex) {
    let read = |name: &str| {
        let file = SCHEMAS.get_file(name).unwrap();
        serde_json::from_slice(file.contents()).unwrap()
    };
    let mut compiler = boon::Compiler::new();
    for other in beside {
        let address = format!("http://cyclonedx.org/schema/{other}");
        compiler.add_resource(&address, read(other)).unwrap();
    }
    let address = format!("http://cyclonedx.org/schema/{name}");
    compiler.add_resource(&address, read(name)).unwrap();
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile(&address, &mut schemas).unwrap();
    (schemas, index)
}

#[test]
fn bills_of_materials_fit_the_published_schemas() {
    let Some(project) = Project::hello() else {
        return;
    };
    let project = project.package(
        "user",
        &spec("user", "BuildRequires: hello\nRequires: hello"),
    );
    project.good(&["build"]);
    project.good(&["sbom", "--output", "bills"]);
    let spdx = schema("spdx-2.3.schema.json", &[]);
    let beside = ["jsf-0.82.SNAPSHOT.schema.json", "spdx.SNAPSHOT.schema.json"];
    let cyclonedx = schema("bom-1.6.SNAPSHOT.schema.json", &beside);
    let bills = super::project::files(&project.path("bills"));
    assert_eq!(bills.len(), 2 * 5, "{:?}", bills.keys());
    for (path, text) in &bills {
        let value: serde_json::Value = serde_json::from_slice(text).unwrap();
        let name = path.to_str().unwrap();
        let (schemas, index) = if name.ends_with("spdx.json") {
            &spdx
        } else {
            &cyclonedx
        };
        if let Err(error) = schemas.validate(&value, *index) {
            panic!("{name}: {error:#}");
        }
        let mut broken = value.clone();
        let key = if name.ends_with("spdx.json") {
            "packages"
        } else {
            "components"
        };
        broken[key] = 1.into();
        assert!(schemas.validate(&broken, *index).is_err(), "{name}");
    }
    let bill = project.read("bills/user-1-1.noarch.rpm.spdx.json");
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    let relations: Vec<String> = bill["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let part = |key: &str| one[key].as_str().unwrap().to_owned();
            let [from, to] = ["spdxElementId", "relatedSpdxElement"].map(part);
            let short = |id: String| id.split("environment-").next().unwrap().to_owned();
            format!("{} {} {}", short(from), part("relationshipType"), short(to))
        })
        .collect();
    insta::assert_snapshot!(relations.join("\n"), @"
    SPDXRef-DOCUMENT DESCRIBES SPDXRef-user-1-1.noarch
    SPDXRef- BUILD_DEPENDENCY_OF SPDXRef-user-1-1.noarch
    SPDXRef-user-1-1.noarch GENERATED_FROM SPDXRef-user-1-1.src
    SPDXRef-user-1-1.noarch DEPENDS_ON SPDXRef-hello-1-1.noarch
    ");
    // The same run gives the same bytes.
    project.good(&["sbom", "--output", "again"]);
    assert!(bills == super::project::files(&project.path("again")));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one lock, each format")]
fn the_lock_is_written_in_the_formats_of_neighbours() {
    let Some(project) = Project::hello() else {
        return;
    };
    project.good(&["lock"]);
    let address = "mini=https://mirror.example/mini";
    let export = |format: &str| {
        let file = format!("{format}.out");
        project.good(&["export", format, "--base-url", address, "--output", &file]);
        project.read(&file)
    };
    let lock = pristine::documents::Lock::load(&project.path("")).unwrap();
    let rpms = &lock.environment.rpms;
    let some = rpms.iter().find(|rpm| rpm.nevra.name == "bash").unwrap();
    for format in ["rpms-lock", "dnf-manifest"] {
        let text = export(format);
        let digests = text.matches("checksum: sha256:").count();
        assert_eq!(digests, rpms.len(), "{format}");
        for part in [some.digest.hex(), some.nevra.evr(), some.size.to_string()] {
            assert!(text.contains(&part), "{format}: no {part}");
        }
        assert!(text.contains("bash-") && text.contains(".src"), "{format}");
        assert!(text.contains("https://mirror.example/mini"), "{format}");
    }
    let mock: serde_json::Value = serde_json::from_str(&export("mock-lock")).unwrap();
    let listed = mock["buildroot"]["rpms"].as_array().unwrap();
    assert_eq!(listed.len(), rpms.len());
    let bash = listed.iter().find(|rpm| rpm["name"] == "bash").unwrap();
    assert_eq!(bash["version"].as_str().unwrap(), some.nevra.version);
    assert!(
        bash["license"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    // The key that signed it, as rpm prints it.
    let key = minidistro::FINGERPRINT.to_lowercase();
    assert_eq!(bash["signature"].as_str().unwrap(), &key[key.len() - 8..]);
    let texts = [
        project.run(&["export", "rpms-lock"]).failure(),
        project
            .run(&["export", "mock-lock", "--base-url", "main=https://x"])
            .failure(),
        project
            .run(&[
                "export",
                "mock-lock",
                "--base-url",
                address,
                "--store",
                "elsewhere",
            ])
            .failure(),
    ];
    // As many packages and versions as the distribution of the day has.
    let texts = texts
        .join("\n")
        .replace(&rpms[0].nevra.to_string(), "PACKAGE");
    insta::assert_snapshot!(texts, @"
    exit 2: error: the repository `mini` is in the project's folder, and the format wants addresses that others reach
      hint: say where it is for those who read the file: --base-url mini=https://…
    exit 2: error: the lock has no repository `main`
      hint: its repositories: mini
    exit 2: error: `PACKAGE` is not in the store, and its header has what the format wants
      hint: `pristine build` and `pristine lock` fetch what a lock names
    ");
}
