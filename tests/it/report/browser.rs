//! A headless Chromium, driven over its debugging pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::conformance::skip;

/// A browser with one page.
pub(super) struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: String,
    number: u64,
    /// What the console said, and what could not be loaded or was forbidden, since the page was opened.
    pub(super) complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it; `None`, with a word about why, where there is none.
    pub(super) fn start() -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        // The browser reads commands from descriptor 3 and writes answers to 4.
        let script = "exec chromium --headless --remote-debugging-pipe --no-sandbox --disable-gpu --no-first-run \
             --disable-dev-shm-usage --disable-background-networking --disable-component-update --hide-scrollbars \
             --user-data-dir=\"$0\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let found = Command::new("chromium").arg("--version").output();
        if let Err(error) = found {
            skip(&format!("chromium: {error}"));
            return None;
        }
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(profile.path())
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            commands,
            answers,
            session: String::new(),
            number: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", &attach);
        let session = attached["sessionId"].as_str().unwrap();
        session.clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Opens a file in a window of that width, in light or dark.
    pub(super) fn open(&mut self, file: &Path, width: u32, scheme: &str) {
        self.complaints.clear();
        let screen =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.ask("Emulation.setDeviceMetricsOverride", &screen);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", &json!({"features": features}));
        let url = format!("file://{}", file.display());
        self.ask("Page.navigate", &json!({"url": url}));
        while self.evaluate("document.readyState + location.href")
            != json!(format!("complete{url}"))
        {}
    }

    /// The value of an expression in the page.
    pub(super) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", &parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{answer}");
        answer["result"]["value"].clone()
    }

    /// A picture of the whole page, into the folder that `PRISTINE_SCREENSHOTS` names.
    pub(super) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("PRISTINE_SCREENSHOTS") else {
            return;
        };
        let parameters = json!({"captureBeyondViewport": true, "format": "png"});
        let answer = self.ask("Page.captureScreenshot", &parameters);
        let path = Path::new(&folder).join(format!("{name}.png"));
        let data = answer["data"].as_str().unwrap();
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(fs_err::File::create(path).unwrap().into_parts().0)
            .spawn()
            .unwrap();
        decoder
            .stdin
            .take()
            .unwrap()
            .write_all(data.as_bytes())
            .unwrap();
        decoder.wait().unwrap();
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.commands
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let mut bytes = Vec::new();
            self.answers.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser ended at {method}");
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == json!(self.number) {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            let complaint = matches!(
                answer["method"].as_str(),
                Some(
                    "Log.entryAdded"
                        | "Runtime.consoleAPICalled"
                        | "Runtime.exceptionThrown"
                        | "Network.loadingFailed"
                        | "Page.javascriptDialogOpening"
                )
            );
            if complaint {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let close = json!({"id": 0, "method": "Browser.close"});
        let asked = self.commands.write_all(format!("{close}\0").as_bytes());
        if asked.is_err() {
            // It is gone already, or does not listen any more.
            let _gone = self.child.kill();
        }
        let _ended = self.child.wait();
    }
}
