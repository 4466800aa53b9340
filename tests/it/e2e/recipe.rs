//! The recipe: files and commands on top of the environment, without a network unless it asks.

use super::project::{Project, spec_with};

#[test]
fn files_and_commands_of_the_recipe_are_in_every_build() {
    let check = "\
test \"$(cat /etc/own.conf)\" = \"from the text\"\n\
test \"$(stat -c %a:%u:%g /etc/own.conf)\" = 600:0:0 || test \"$(stat -c %a /etc/own.conf)\" = 640\n\
test \"$(cat /opt/own/file)\" = \"from the project\"\n\
test \"$(cat /opt/made)\" = \"by 0 with text in sh\"\n\
test ! -e /run/pristine/recipe\n";
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .package("a", &spec_with("a", "", "%check", check))
        .recipe(
            "packages = [\"dash\"]\n\
             [[file]]\npath = \"/etc/own.conf\"\ncontent = \"from the text\\n\"\nmode = \"0640\"\n\
             [[file]]\npath = \"/opt/own/file\"\nsource = \"files/own\"\n\
             [[command]]\nscript = \"echo by $(id -u) with $WITH in sh > /opt/made\"\nenv = { WITH = \"text\" }\n\
             [[command]]\nrun = [\"chmod\", \"0644\", \"/opt/made\"]\n",
        );
    project.edit(
        "packages/a/a.spec",
        "test \"$(cat /etc/own.conf)\" = \"from the text\"\n",
        "",
    );
    project.edit("recipes/own.toml", "mode = \"0640\"", "mode = \"0644\"");
    project.edit("packages/a/a.spec", "test \"$(stat -c %a:%u:%g /etc/own.conf)\" = 600:0:0 || test \"$(stat -c %a /etc/own.conf)\" = 640", "test \"$(stat -c %a:%u:%g /etc/own.conf)\" = 644:0:0\ntest \"$(cat /etc/own.conf)\" = \"from the text\"");
    project.write("files/own", "from the project\n");
    project.good(&["build"]);
    let first = project.record();
    assert_ne!(first.snapshot, first.environment);
    // A change of a file is a change of the recipe.
    project.write("files/own", "changed\n");
    assert_eq!(project.run(&["build", "--locked"]).code, Some(3));
    assert_eq!(
        project.run(&["build"]).code,
        Some(1),
        "%check sees the change"
    );
    assert_eq!(project.record().environment, first.environment);
}

#[test]
fn a_command_has_no_network_unless_it_asks_and_says_why_it_failed() {
    let Some(project) = Project::hello() else {
        return;
    };
    // The host's loopback is the only network that tests may use: with `network = true` the
    // port answers, without it there is nobody.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("echo connecting; exec 3<>/dev/tcp/127.0.0.1/{port}");
    let command = |network: bool| {
        format!("[[command]]\nrun = [\"bash\", \"-c\", \"{connect}\"]\nnetwork = {network}\n")
    };
    let project = project.recipe(&command(false));
    let said = project
        .run(&["build"])
        .failure()
        .replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(said, @"
    exit 2: error: the recipe's command `bash -c echo connecting; exec 3<>/dev/tcp/127.0.0.1/PORT` failed (exit code 1):
    connecting
    bash: connect: Connection refused
    bash: line 1: /dev/tcp/127.0.0.1/PORT: Connection refused
    ");
    project.write("recipes/own.toml", format!("format = 1\n{}", command(true)));
    project.good(&["build"]);
    assert_eq!(project.rubbish(), Vec::<String>::new());
    drop(listener);
}

#[test]
fn a_recipe_may_be_a_script() {
    let Some(project) = Project::new() else {
        return;
    };
    let project = project
        .package("a", &spec_with("a", "", "%check", "test -d /opt/scripted"))
        .recipe("");
    fs_err::remove_file(project.path("recipes/own.toml")).unwrap();
    project.write("recipes/own", "#!/bin/bash\nset -e\nmkdir /opt/scripted\n");
    fs_err::set_permissions(
        project.path("recipes/own"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    project.good(&["build"]);
    project.write(
        "recipes/own",
        "#!/bin/bash\necho it went wrong >&2\nexit 7\n",
    );
    insta::assert_snapshot!(project.run(&["build"]).failure(), @"
    exit 2: error: the recipe's command `/run/pristine/recipe` failed (exit code 7):
    it went wrong
    ");
}
