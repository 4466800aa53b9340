//! What every run leaves for its readers.

use super::project::{Project, spec};

#[test]
fn every_run_leaves_its_reports_and_is_told_in_the_terminal() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .package("first", &spec("first", ""))
        .package("second", &spec("second", "BuildRequires: first"));
    project.good(&["build"]);
    let green = project.record().run;
    project.edit(
        "packages/first/first.spec",
        "%files",
        "%build\nprintf 'an \\033[31merror\\n'\nexit 3\n\n%files",
    );
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, Some(1), "{}", ran.all());
    let folder = project.run_folder();
    let page = fs_err::read_to_string(folder.join("report.html")).unwrap();
    for text in [
        "1 of 2 packages failed",
        &green,
        "first.spec",
        "an error",
        "./logs/first.log",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let suite = fs_err::read_to_string(folder.join("junit.xml")).unwrap();
    assert!(
        suite.contains(r#"tests="2" failures="1" errors="0" skipped="1""#),
        "{suite}"
    );
    assert_eq!(
        fs_err::read(folder.join("pristine.lock")).unwrap(),
        project.read("pristine.lock").as_bytes()
    );
    let index = fs_err::read_to_string(project.path("cache/index.html")).unwrap();
    assert!(index.contains("1 of 2 runs are green"), "{index}");
    told(&project, &green);
}

/// The same in the terminal.
fn told(project: &Project, green: &str) {
    let folder = project.run_folder();
    let listed: serde_json::Value =
        serde_json::from_str(&project.good(&["runs", "--json"]).out).unwrap();
    assert_eq!(listed["runs"][1]["run"], green);
    assert_eq!(
        (&listed["runs"][0]["failed"], &listed["runs"][1]["green"]),
        (&1.into(), &true.into())
    );
    let shown = project.good(&["show"]).out;
    assert!(
        shown.contains("FAIL first") && shown.contains("| an error"),
        "{shown}"
    );
    assert!(
        project
            .good(&["log", "first"])
            .out
            .contains("an \u{1b}[31merror")
    );
    assert!(!project.good(&["log", green, "first"]).out.contains("an "));
    let differs = project.good(&["diff", green, "latest"]).out;
    assert!(
        differs.contains("changed  first  packages/first/first.spec"),
        "{differs}"
    );
    assert!(
        differs.contains("broken  first   built -> failed"),
        "{differs}"
    );
    let same = project
        .good(&[
            "diff",
            "pristine.lock",
            &folder.join("pristine.lock").display().to_string(),
        ])
        .out;
    assert!(same.contains("nothing differs"), "{same}");
    let unknown = project.run(&["diff", "nothing", "latest"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.all());
}
