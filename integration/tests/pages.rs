//! The pages, as a browser and as a bare HTTP client see them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration::browser::Browser;
use integration::{World, ok};
use serde_json::json;
use ureq::Body;
use ureq::http::Response;

fn deploy(partitions: &str, jobs: &str) -> String {
    format!("on: {{ manual: {{}} }}\npartitions: [{partitions}]\njobs:\n{jobs}")
}

const NOTHING: &str = "  nothing: { process: {}, run: 'true' }\n";
const LONG: &str = "  long:\n    process: {}\n    run: sleep 600\n";

/// A job that says `first`, waits for a file, and says `last`.
fn gated(go: &Path) -> String {
    let go = go.display();
    format!(
        "  gated:\n    process: {{}}\n    run: |\n      printf '\\033[31mfirst\\033[0m <script>alert(1)</script>\\nasks: '\n      \
         until test -e {go}; do sleep 0.02; done\n      echo last\n"
    )
}

/// A browser that only knows HTTP.
struct Visitor {
    agent: ureq::Agent,
    url: String,
    cookie: String,
}

impl Visitor {
    fn outside(world: &World) -> Visitor {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_recv_body(Some(Duration::from_secs(30)))
            .build();
        let url = ok(world.site.url());
        Visitor { agent: config.into(), url, cookie: String::new() }
    }

    fn inside(world: &World) -> Visitor {
        Visitor::by(world, &link(world))
    }

    /// A session by a link.
    fn by(world: &World, link: &str) -> Visitor {
        let mut visitor = Visitor::outside(world);
        let answer = visitor.send(&link.replace(&visitor.url, ""), &[], &[]);
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        visitor.cookie = cookie.split(';').next().unwrap().to_owned();
        visitor
    }

    fn get(&self, path: &str) -> Response<Body> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("cookie", &self.cookie);
        ok(request.call())
    }

    fn text(&self, path: &str) -> String {
        let mut answer = self.get(path);
        assert_eq!(answer.status(), 200, "{path}");
        ok(answer.body_mut().with_config().limit(64 << 20).read_to_string())
    }

    fn send(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Response<Body> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("cookie", &self.cookie);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        ok(request.send_form(form.iter().copied()))
    }

    fn post(&self, path: &str, csrf_token: &str) -> Response<Body> {
        self.send(path, &[("csrf_token", csrf_token)], &[])
    }

    /// The session's token, as a page's forms carry it.
    fn csrf_token(&self) -> String {
        let page = self.text("/");
        let (_, rest) = page.split_once("name=\"csrf_token\" value=\"").expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

fn link(world: &World) -> String {
    let said = world.garrison(&["open"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out.trim().to_owned()
}

/// A link with the rights of a new token.
fn link_of(world: &World, name: &str, role: &str, partition: &str) -> String {
    let made = world.garrison(&[
        "tokens",
        "create",
        name,
        "--role",
        role,
        "--partition",
        partition,
        "-o",
        "json",
    ]);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let client = garrison::client::Client::new(&ok(world.site.url()), &token);
    ok(garrison::command::open::url(&client))
}

fn is_running(detail: &serde_json::Value) -> bool {
    detail["jobs"][0]["attempts"][0]["status"] == "running"
}

fn read(mut answer: Response<Body>) -> String {
    ok(answer.body_mut().read_to_string())
}

#[test]
fn without_a_session_every_page_says_how_to_get_one() {
    let world = World::without_agents(&["fra"], &deploy("fra", NOTHING));
    let mut visitor = Visitor::outside(&world);
    let paths = [
        "/",
        "/live",
        "/runs/1",
        "/runs/1/live",
        "/attempts/1.0.1/log",
        "/attempts/1.0.1/raw",
        "/attempts/1.0.1/live?from=1-0",
        "/login/wrong",
    ];
    for cookie in ["", "garrison_session=guess"] {
        visitor.cookie = cookie.to_owned();
        for path in paths {
            let answer = visitor.get(path);
            assert_eq!(answer.status(), 401, "{path}");
            let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
            let policy = header("content-security-policy");
            for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
                assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
            }
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("referrer-policy"), "no-referrer");
            assert_eq!(header("cache-control"), "no-store");
            assert!(read(answer).contains("garrison open"), "{path}");
        }
        assert_eq!(visitor.post("/runs/1/cancel", "guess").status(), 401);
    }
}

#[test]
fn a_link_works_once_and_only_by_its_button() {
    let world = World::without_agents(&["fra"], &deploy("fra", NOTHING));
    let visitor = Visitor::outside(&world);
    let path = link(&world).replace(&visitor.url, "");
    for _ in 0..3 {
        assert!(visitor.text(&path).contains("Open garrison"));
    }
    let foreign = [("sec-fetch-site", "cross-site")];
    assert_eq!(visitor.send(&path, &[], &foreign).status(), 403);
    assert_eq!(visitor.send(&path, &[], &[("origin", "http://evil.example")]).status(), 403);
    let answer = visitor.send(&path, &[], &[("sec-fetch-site", "same-origin")]);
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/".parse().unwrap())
    );
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert_eq!(visitor.send(&path, &[], &[]).status(), 401);
    assert_eq!(visitor.get(&path).status(), 401);
}

#[test]
fn the_first_start_says_a_link_and_later_ones_do_not() {
    let mut world = World::without_agents(&["fra"], &deploy("fra", NOTHING));
    let links = |world: &World| {
        let log = fs::read_to_string(world.dir.path().join("coordinator.log")).unwrap();
        let words = log.split_whitespace().filter(|word| word.contains("/login/"));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = ok(garrison::site::wait("a link in the log", || {
        Some(links(&world)).filter(|links| !links.is_empty())
    }));
    let session = Visitor::by(&world, &first[0]);
    assert!(session.text("/").contains("local admin"));
    ok(world.site.stop_coordinator());
    ok(world.site.start_coordinator());
    assert_eq!(session.get("/").status(), 401, "a restart ends sessions");
    let log = || fs::read_to_string(world.dir.path().join("coordinator.log")).ok();
    let told = || log().filter(|log| log.contains("'garrison open' prints"));
    ok(garrison::site::wait("what prints a link", told));
    assert_eq!(links(&world), first);
}

#[test]
fn a_run_that_waits_for_its_group_says_for_whom_and_may_be_cancelled() {
    let text =
        format!("concurrency: {{ group: site, mode: newest-only }}\n{}", deploy("fra", NOTHING));
    let world = World::without_agents(&["fra"], &text);
    let [first, second, third] = [world.trigger(), world.trigger(), world.trigger()];
    let visitor = Visitor::inside(&world);
    let (waits, superseded) =
        (format!("waits for run {first} (group site)"), format!("superseded by run {third}"));
    let list = visitor.text("/");
    assert!(list.contains(&waits) && list.contains(&superseded), "{list}");
    let page = visitor.text(&format!("/runs/{third}"));
    assert!(page.contains(&waits) && page.contains("Cancel this run"), "{page}");
    let page = visitor.text(&format!("/runs/{second}"));
    assert!(page.contains(&superseded) && page.contains("Retry what did not"), "{page}");
}

#[test]
fn a_job_that_waits_says_for_what() {
    let jobs = "  check: { agent: each, process: {}, run: 'true' }\n";
    let world = World::without_agents(&["fra"], &deploy("fra", &[jobs, NOTHING].concat()));
    let inventory = "partition: fra\nagents: { mgmt01: {} }\ndevices: {}\n";
    ok(world.site.commit(&[("partitions/fra.yaml", inventory)]));
    let page = Visitor::inside(&world).text(&format!("/runs/{}", world.trigger()));
    for words in [
        "check on mgmt01",
        "waits for agent mgmt01, which has not joined",
        "for an agent with room",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn a_run_that_waits_for_its_window_has_a_form_for_admins_alone() {
    let world = World::start(&["fra"], &format!("window: far\n{}", deploy("fra", NOTHING)));
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600;
    let (from, to) = (format!("{:02}:00", (hour + 12) % 24), format!("{:02}:30", (hour + 12) % 24));
    let inventory = format!(
        "partition: fra\ntimezone: UTC\ndevices: {{}}\n\
         windows: {{ far: [{{ from: \"{from}\", to: \"{to}\" }}] }}\n"
    );
    ok(world.site.commit(&[("partitions/fra.yaml", &inventory)]));
    let run = world.trigger();
    world.run_when(run, "wait", |detail| detail["jobs"][0]["opens_us"].is_u64());
    let editor = Visitor::by(&world, &link_of(&world, "dora", "edit", "fra"));
    let admin = Visitor::by(&world, &link_of(&world, "anna", "admin", "fra"));
    let (form, words) = ("/runs/1/override-window", "waits for the window far, which opens ");
    for (visitor, may) in [(&editor, false), (&admin, true)] {
        let page = visitor.text("/runs/1");
        assert!(page.contains(words) && page.contains(form) == may, "{page}");
    }
    let send = |visitor: &Visitor, reason| {
        let token = visitor.csrf_token();
        visitor.send(form, &[("csrf_token", &token), ("reason", reason)], &[]).status()
    };
    assert_eq!(send(&editor, "now"), 403);
    assert_eq!(send(&admin, " "), 422);
    assert_eq!(admin.send(form, &[("csrf_token", "guess"), ("reason", "now")], &[]).status(), 403);
    assert_eq!(send(&admin, "<b>now</b>"), 303);
    assert_eq!(world.finished(run)["status"], "succeeded");
    let page = admin.text("/runs/1");
    assert!(page.contains("anna: &#60;b&#62;now&#60;/b&#62;") && !page.contains(form), "{page}");
}

#[test]
fn a_foreign_name_that_leads_here_gets_nothing() {
    let world = World::without_agents(&["fra"], &deploy("fra", NOTHING));
    let visitor = Visitor::inside(&world);
    let by = |host: &str| {
        let request = visitor.agent.get(format!("{}/", visitor.url)).header("host", host);
        ok(request.header("cookie", &visitor.cookie).call()).status().as_u16()
    };
    assert_eq!(by("localhost:1234"), 200);
    assert_eq!(by("evil.example"), 421);
}

#[test]
fn run_and_log_are_shown_and_nothing_in_them_becomes_markup() {
    let jobs = "  speaks:\n    process: {}\n    run: echo '<script>out</script>'; echo '<b>err' >&2\n\
                \x20 breaks:\n    process: {}\n    needs: [speaks]\n    run: exit 7\n\
                \x20 waits:\n    process: {}\n    needs: [breaks]\n    run: 'true'\n";
    let world = World::start(&["fra"], &deploy("fra", jobs));
    world.finished(world.trigger());
    let visitor = Visitor::inside(&world);
    assert!(visitor.text("/").contains("href=\"/runs/1\">deploy #1</a>"));
    let run = visitor.text("/runs/1");
    let parts = [
        ">speaks<",
        "fra</h2>",
        "needs speaks",
        "exit status 7",
        "breaks did not succeed",
        "mgmt01",
        "local admin",
        "/runs/1/retry",
        "/attempts/1.0.1/log",
    ];
    for part in parts {
        assert!(run.contains(part), "{part} in {run}");
    }
    let log = visitor.text("/attempts/1.0.1/log");
    assert!(log.contains("</a>&lt;script&gt;out&lt;/script&gt;\n"), "{log}");
    assert!(log.contains("<span class=\"l err\">") && log.contains("</a>&lt;b&gt;err\n"), "{log}");
    let raw = visitor.get("/attempts/1.0.1/raw");
    assert_eq!(raw.headers()["content-disposition"], "attachment; filename=\"1.0.1.log\"");
    assert_eq!(raw.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(read(raw).contains("<script>out</script>\n"));
    assert_eq!(visitor.get("/runs/99").status(), 404);
    assert_eq!(visitor.get("/attempts/1.0.2/log").status(), 404);
}

#[test]
fn what_an_invalid_pipeline_says_is_shown_as_text() {
    let jobs = "  a: { '<script>': {}, run: x }\n";
    let world = World::without_agents(&["fra"], &deploy("fra", jobs));
    world.garrison(&["trigger", "deploy", "-r", "infra"]);
    let run = Visitor::inside(&world).text("/runs/1");
    assert!(run.contains("does not compile"), "{run}");
    assert!(run.contains("&#60;script&#62;") && !run.contains("<script>"), "{run}");
}

#[test]
fn a_long_log_comes_in_small_pages() {
    let jobs = "  long:\n    process: {}\n    run: for i in $(seq 1 20); do seq -f '%08.0f configures port Ethernet1/2 of leaf01' 1 5000; done\n";
    let world = World::start(&["fra"], &deploy("fra", jobs));
    world.run_when(world.trigger(), "be complete", |it| {
        it["jobs"][0]["attempts"][0]["log_complete"] == true
    });
    let visitor = Visitor::inside(&world);
    let newest = visitor.text("/attempts/1.0.1/log");
    // The first line is the command.
    assert!(newest.contains("id=L100001 ") && newest.contains("of 100001"), "{}", &newest[..3000]);
    let first = visitor.text("/attempts/1.0.1/log?line=1");
    assert!(first.contains("id=L1 ") && !first.contains("id=L501 "));
    let some = visitor.text("/attempts/1.0.1/log?line=77777");
    assert!(some.contains("<a id=L77777 href=?line=77777#L77777>77777</a>00002776 configures"));
    for page in [&newest, &first, &some] {
        assert!(page.len() < 150_000, "{} bytes", page.len());
    }
    assert_eq!(visitor.text("/attempts/1.0.1/raw").lines().count(), 100_001);
    let mut load = visitor.text("/").len();
    for asset in visitor.text("/").split('"').filter(|it| it.starts_with("/assets/")) {
        load += visitor.text(asset).len();
    }
    assert!(load < 100_000, "{load} bytes");
}

#[test]
fn a_large_run_is_shown_by_partition() {
    let names: Vec<String> = (0..30).map(|at| format!("room{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let jobs: String = (0..8).map(|at| NOTHING.replace("nothing", &format!("job{at}"))).collect();
    let world = World::without_agents(&names, &deploy(&names.join(", "), &jobs));
    world.trigger();
    let visitor = Visitor::inside(&world);
    let run = visitor.text("/runs/1");
    assert!(run.contains("8 <span class=\"status idle\">") && !run.contains("job7"), "{run}");
    let one = visitor.text("/runs/1?partition=room7");
    assert!(one.contains("job7") && !one.contains("room8"), "{one}");
}

#[test]
fn a_button_needs_the_token_of_its_session() {
    let world = World::start(&["fra"], &deploy("fra", LONG));
    let run = world.trigger();
    world.run_when(run, "run", is_running);
    let visitor = Visitor::inside(&world);
    let other = Visitor::inside(&world);
    for token in ["", "guess", &other.csrf_token()] {
        assert_eq!(visitor.post("/runs/1/cancel", token).status(), 403);
    }
    let own = visitor.csrf_token();
    assert_eq!(visitor.send("/runs/1/cancel", &[], &[]).status(), 422);
    let foreign = [("sec-fetch-site", "cross-site")];
    let form = [("csrf_token", own.as_str())];
    assert_eq!(visitor.send("/runs/1/cancel", &form, &foreign).status(), 403);
    assert_eq!(world.run_when(run, "be", |_| true)["status"], "active");
    let answer = visitor.post("/runs/1/cancel", &own);
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], "/runs/1");
    assert_eq!(world.finished(run)["cancelled_by"], "local admin");
    assert_eq!(visitor.post("/logout", "guess").status(), 403);
    assert_eq!(visitor.post("/logout", &own).status(), 303);
    assert_eq!(visitor.get("/").status(), 401);
}

#[test]
fn a_session_sees_and_may_do_what_its_token_may_and_ends_with_it() {
    let world = World::start(&["fra", "muc"], &deploy("fra, muc", LONG));
    let run = world.trigger();
    world.run_when(run, "run", |it| {
        is_running(it) && it["jobs"][1]["attempts"][0]["status"] == "running"
    });
    let muc = Visitor::by(&world, &link_of(&world, "muc-only", "edit", "muc"));
    let page = muc.text("/runs/1");
    assert!(page.contains("muc-only: edit in muc") && page.contains("/attempts/1.1.1/log"));
    assert!(!page.contains(">fra<") && !page.contains("/attempts/1.0.1/"), "{page}");
    assert!(!page.contains("/cancel"), "a run is cancelled in all its partitions");
    assert_eq!(muc.post("/runs/1/cancel", &muc.csrf_token()).status(), 403);
    for path in ["log", "raw", "live?from=1-0"] {
        assert_eq!(muc.get(&format!("/attempts/1.0.1/{path}")).status(), 404, "{path}");
        assert_eq!(muc.get(&format!("/attempts/1.1.1/{path}")).status(), 200, "{path}");
    }
    let elsewhere = Visitor::by(&world, &link_of(&world, "guest", "view", "elsewhere"));
    assert!(elsewhere.text("/").contains("No runs yet"));
    assert_eq!(elsewhere.get("/runs/1").status(), 404);
    assert_eq!(elsewhere.get("/runs/1/live").status(), 404);
    let unused = link_of(&world, "late", "view", "muc");
    for name in ["muc-only", "late"] {
        assert_eq!(world.garrison(&["tokens", "revoke", name]).code, 0);
    }
    assert_eq!(muc.get("/").status(), 401);
    assert_eq!(Visitor::by(&world, &unused).get("/").status(), 401);
}

/// A job that deploys to an environment of its partition; only the first time.
fn deploying(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "  ship:\n    process: {{}}\n    environment: {{ name: site/prod, url: \"https://site.example.org/\" }}\n    \
         run: mkdir {dir}/$GARRISON_PARTITION\n"
    )
}

#[test]
fn environments_are_shown_with_what_is_deployed_and_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(&["fra", "muc"], &deploy("fra, muc", &deploying(dir.path())));
    let visitor = Visitor::inside(&world);
    assert!(visitor.text("/environments").contains("Nothing was deployed"));
    assert_eq!(visitor.get("/environments/fra/site/prod").status(), 404);
    for status in ["succeeded", "failed"] {
        let run = world.trigger();
        assert_eq!(world.finished(run)["status"], status);
    }
    let list = visitor.text("/environments");
    for shown in ["href=\"/environments/fra/site/prod\"", "muc/site/prod", "href=\"/runs/1\""] {
        assert!(list.contains(shown), "{list}");
    }
    assert!(!list.contains("/runs/2"), "{list}");
    let muc = Visitor::by(&world, &link_of(&world, "muc-only", "view", "muc"));
    let list = muc.text("/environments");
    assert!(list.contains("muc/site/prod") && !list.contains("fra/site/prod"), "{list}");
    assert_eq!(muc.get("/environments/fra/site/prod").status(), 404);
    assert!(!muc.text("/environments/muc/site/prod?before=1.1.1").contains("/attempts/"));

    let (mut browser, _) = sign_in(&world);
    browser.click("a[href='/environments']");
    browser.wait("document.title.startsWith('Environments')");
    browser.click("a[href='/environments/fra/site/prod']");
    browser.wait("document.querySelector('h1').innerText === 'fra/site/prod'");
    let states = "[...document.querySelectorAll('.status')].map(it => it.innerText).join()";
    assert_eq!(browser.evaluate(states), "✗ failed,✓ succeeded");
    browser.wait_for_text("run 1");
    assert_eq!(browser.complaints(), &[] as &[String]);
}

/// Signs a browser in, as a person would.
fn sign_in(world: &World) -> (Browser, String) {
    let mut browser = Browser::start();
    browser.open(&link(world), "true");
    browser.click("#open");
    browser.wait("document.querySelector('h1').innerText === 'Runs'");
    let url = browser.evaluate("location.origin").as_str().unwrap().to_owned();
    (browser, url)
}

/// From now on a page that was loaded again is told from one that was not.
fn mark(browser: &mut Browser) {
    browser.wait("document.getElementById('link').textContent === 'live'");
    browser.evaluate("window.isMarked = true");
}

#[test]
fn runs_jobs_and_output_reach_open_pages() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let world = World::start(&["fra"], &deploy("fra", &gated(&go)));
    let (mut list, url) = sign_in(&world);
    let (mut page, mut log) = (sign_in(&world).0, sign_in(&world).0);
    mark(&mut list);

    let run = world.trigger();
    list.wait("document.getElementById('run-1') !== null");
    list.wait_for_text("active");
    world.run_when(run, "run", is_running);
    page.open(&format!("{url}/runs/1"), "document.title.includes('active: deploy #1')");
    mark(&mut page);
    log.open(&format!("{url}/attempts/1.0.1/log"), "document.title.includes('running: gated')");
    mark(&mut log);
    log.wait(
        "document.getElementById('log').innerText.includes('first <script>alert(1)</script>')",
    );
    log.wait("document.getElementById('rest').innerText.includes('asks: ')");
    assert_eq!(log.evaluate("document.querySelectorAll('#log script').length"), 0);
    assert_eq!(log.evaluate("document.querySelector('#log .t1').innerText"), "first");

    fs::write(&go, "").unwrap();
    log.wait("document.getElementById('log').innerText.includes('asks: last')");
    log.wait("document.title.startsWith('✓ succeeded: gated')");
    page.wait("document.title.startsWith('✓ succeeded: deploy #1')");
    page.wait("document.querySelector('.big .status').innerText.includes('succeeded')");
    page.wait("document.querySelector('.jobs td').innerText.includes('succeeded')");
    list.wait_for_text("succeeded");
    for mut browser in [list, page, log] {
        assert_eq!(browser.evaluate("window.isMarked"), true, "nothing was loaded again");
        assert_eq!(browser.evaluate("document.cookie"), "", "scripts cannot read the session");
        assert_eq!(browser.complaints(), &[] as &[String]);
    }
}

#[test]
fn a_run_is_cancelled_and_retried_from_its_page_without_scripts() {
    let world = World::start(&["fra"], &deploy("fra", LONG));
    let (mut browser, url) = sign_in(&world);
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    let run = world.trigger();
    world.run_when(run, "run", is_running);
    browser.open(&format!("{url}/runs/1"), "document.title.includes('active')");
    browser.click("#ask summary");
    browser.click("#cancel");
    assert_eq!(world.finished(run)["status"], "cancelled");
    browser.open(&format!("{url}/runs/1"), "document.title.includes('cancelled')");
    browser.click("#retry");
    world.run_when(run, "run again", |it| it["jobs"][0]["attempts"][1]["status"] == "running");
    browser.wait("document.title.includes('active: deploy #1')");
    assert_eq!(browser.complaints(), &[] as &[String]);
}

/// Two partitions with a gate each, and one at which somebody says what was done by hand.
const GATES: &str = "on: { manual: {} }\npartitions: [fra, muc]\njobs:\n  \
                     approve:\n    gate: { role: admin, message: \"OPS-12 <b>now</b>\\n{{ plan.summary }}\" }\n  \
                     console: { gate: { acknowledge: loaded on console fw01 }, partitions: [fra] }\n  \
                     deploy: { needs: [approve], process: {}, run: 'true' }\n";

fn is_open(detail: &serde_json::Value) -> bool {
    detail["jobs"].as_array().unwrap().iter().filter(|job| job["status"] == "open").count() == 3
}

#[test]
fn gates_are_shown_to_and_answered_by_those_who_may() {
    let world = World::start(&["fra", "muc"], GATES);
    let run = world.trigger();
    world.run_when(run, "wait for people", is_open);
    let admin = Visitor::inside(&world);
    let anna = Visitor::by(&world, &link_of(&world, "anna", "admin", "fra"));
    let page = anna.text("/runs/1");
    assert!(
        page.contains("OPS-12 &#60;b&#62;now")
            && page.contains("lets 1 job through in fra: deploy"),
        "{page}"
    );
    assert!(
        page.contains("Waits for 1 approval by an admin") && !page.contains("in muc"),
        "{page}"
    );
    // The local admin triggered the run: he may say no, and load the console.
    let own = admin.text("/gates");
    assert!(
        own.contains("local admin triggered run 1") && own.contains("/gates/1.2/reject"),
        "{own}"
    );
    assert!(
        own.contains("/gates/1.1/acknowledge") || own.contains("/gates/1.2/acknowledge"),
        "{own}"
    );
    let approve = format!("/gates/{}/approve", id(&world, "approve", "fra"));
    assert!(!own.contains(&approve) && page.contains(&approve), "{own}");

    let guest = Visitor::by(&world, &link_of(&world, "guest", "view", "fra"));
    assert!(guest.text("/gates").contains("approving needs admin; guest lacks it"));
    for path in ["approve", "reject", "acknowledge"] {
        let path = approve.replace("approve", path);
        assert_eq!(anna.post(&path, &guest.csrf_token()).status(), 403, "{path}");
        assert_eq!(anna.send(&path, &[], &[]).status(), 422, "{path}");
    }
    assert_eq!(guest.post(&approve, &guest.csrf_token()).status(), 403);
    let refused = read(admin.post(&approve, &admin.csrf_token()));
    assert!(refused.contains("local admin triggered run 1, so somebody else must approve it"));
    let reject = approve.replace("approve", "reject");
    let without = anna.post(&reject, &anna.csrf_token());
    assert_eq!(without.status(), 422);
    let token = anna.csrf_token();
    let form = [("csrf_token", token.as_str()), ("comment", "looks <i>fine</i>")];
    let answer = anna.send(&approve, &form, &[]);
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/runs/1".parse().unwrap())
    );
    let page = admin.text("/runs/1");
    assert!(page.contains("by anna (looks &#60;i&#62;fine&#60;/i&#62;)"), "{page}");
    assert_eq!(anna.get("/gates/live").status(), 200);
}

/// The id of a job.
fn id(world: &World, name: &str, partition: &str) -> String {
    let detail = world.run_when(1, "be", |_| true);
    let jobs = detail["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["name"] == name && job["partition"] == partition);
    job.unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn people_answer_gates_on_open_pages_with_a_keyboard_alone() {
    let world = World::start(&["fra", "muc"], GATES);
    let (mut list, url) = sign_in(&world);
    list.open(&format!("{url}/gates"), "document.title.startsWith('Gates')");
    list.wait_for_text("No gate waits for anybody.");
    mark(&mut list);
    let run = world.trigger();
    list.wait("document.querySelectorAll('section.gate').length === 3");
    let (console, fra) = (id(&world, "console", "fra"), id(&world, "approve", "fra"));
    assert_eq!(list.evaluate("document.querySelectorAll('section.gate b').length"), 0);

    let mut page = Browser::start();
    page.open(&link_of(&world, "anna", "admin", "fra"), "true");
    page.click("#open");
    page.wait("document.querySelector('h1').innerText === 'Runs'");
    page.open(&format!("{url}/runs/1"), "document.querySelectorAll('section.gate').length === 2");
    mark(&mut page);
    // What is typed stays while the page changes around it.
    page.evaluate(&format!("document.querySelector('form[action=\"/gates/{fra}/approve\"] input[name=comment]').value = 'fine'"));
    let acknowledge = format!("form[action=\"/gates/{console}/acknowledge\"]");
    list.evaluate(&format!(
        "document.querySelector('{acknowledge} input[name=text]').value = 'loaded on console fw01'"
    ));
    list.click(&format!("{acknowledge} button"));
    list.wait("document.title.includes('deploy #1')");
    page.wait("document.querySelectorAll('section.gate').length === 1");
    let typed = page.evaluate(&format!(
        "document.querySelector('form[action=\"/gates/{fra}/approve\"] input[name=comment]').value"
    ));
    assert_eq!((page.evaluate("window.isMarked"), typed), (json!(true), json!("fine")));
    page.click(&format!("form[action=\"/gates/{fra}/approve\"] button"));
    page.wait_for_text("by anna (fine)");
    page.wait("document.querySelectorAll('section.gate').length === 0");
    // A reject wants a reason before anything is sent.
    let muc = id(&world, "approve", "muc");
    let reject = format!("form[action=\"/gates/{muc}/reject\"]");
    list.click("section.gate summary");
    list.click(&format!("{reject} button"));
    assert_eq!(
        list.evaluate(&format!(
            "document.querySelector('{reject} input[name=reason]').validity.valueMissing"
        )),
        true
    );
    list.evaluate(&format!(
        "document.querySelector('{reject} input[name=reason]').value = 'not on a Friday'"
    ));
    list.click(&format!("{reject} button"));
    assert_eq!(world.finished(run)["status"], "failed");
    list.wait_for_text("by local admin: not on a Friday");
    for mut browser in [list, page] {
        assert_eq!(browser.complaints(), &[] as &[String]);
    }
}

#[test]
fn a_run_shows_what_came_of_ansibles_hosts() {
    let lines = [
        r#"{"call": true, "check": false}"#,
        r#"{"host": "leaf01", "ok": 2, "changed": 1}"#,
        r#"{"host": "leaf02", "failed": 1}"#,
        r#"{"failure": "failed", "host": "leaf02", "task": "restart", "message": "<script>alert(1)</script>"}"#,
    ];
    let jobs = format!(
        "  ansible:\n    process: {{}}\n    recap: ansible\n    run: |\n      cat >> $GARRISON_RECAP <<'END'\n      {}\n      END\n",
        lines.join("\n      ")
    );
    let world = World::start(&["fra"], &deploy("fra", &jobs));
    world.finished(world.trigger());
    let page = Visitor::inside(&world).text("/runs/1");
    assert!(page.contains(">2 hosts, 1 changed, leaf02 failed<"), "{page}");
    assert!(page.contains("leaf02 failed at &#39;restart&#39;: &#60;script&#62;"), "{page}");
}
