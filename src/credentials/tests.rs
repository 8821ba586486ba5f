//! What is found and what is not, in every way that configuration is written. Nothing here is a secret of anybody.

use super::kinds::{TOKENS, class};
use super::*;

fn detector() -> Detector {
    Detector::new(&[7; 32])
}

fn scan(name: &str, value: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    detector().scan(name, value, &mut findings);
    findings
}

fn kinds(name: &str, value: &[u8]) -> Vec<&'static str> {
    scan(name, value).into_iter().map(|finding| finding.kind).collect()
}

/// Drawn at random, and the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    fn text(&mut self, of: fn(u8) -> bool, count: usize) -> String {
        let all: Vec<u8> = (33..127).filter(|b| of(*b)).collect();
        (0..count).map(|_| char::from(all[self.below(all.len())])).collect()
    }
}

/// A token of a form of the table.
fn sample(form: &str, chance: &mut Chance) -> String {
    let mut out = String::new();
    let mut rest = form;
    while let Some((literal, more)) = rest.split_once('<') {
        out.push_str(literal);
        let (run, after) = more.split_once('>').unwrap();
        rest = after;
        let least: usize = run[2..].split('-').next().unwrap().parse().unwrap();
        let most: usize = run[2..].split('-').next_back().unwrap().parse().unwrap();
        // Runs of anything are filled with what no sign of the form is.
        let of = match run.as_bytes()[0] {
            b's' | b'x' => class(b'w'),
            name => class(name),
        };
        let count = (least + 4).clamp(least, most);
        out.push_str(&chance.text(of, count));
    }
    out.push_str(rest);
    out
}

#[test]
fn every_form_of_a_token_is_found_wherever_it_stands() {
    let mut chance = Chance(1);
    let mut missed = Vec::new();
    for kind in TOKENS.iter().filter(|kind| kind.check != kinds::Check::Jwt) {
        for form in kind.forms.split_ascii_whitespace() {
            let token = sample(form, &mut chance);
            let texts = [
                token.clone(),
                format!("note={token}\n"),
                format!("{{\"a\": \"{token}\"}}"),
                format!("- x: '{token}'\n- y: 1\n"),
                format!("<v>{token}</v>"),
            ];
            for text in texts {
                if !kinds("x", text.as_bytes()).contains(&kind.name) {
                    missed.push(format!("{} in {text}: {:?}", kind.name, kinds("x", text.as_bytes())));
                }
            }
        }
    }
    assert!(missed.len() <= 6, "{} missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn examples_of_the_table_are_no_secrets() {
    for kind in kinds::TOKENS.iter().chain(kinds::OTHERS) {
        assert_eq!(kinds("x", kind.example.as_bytes()), [""; 0], "{}", kind.example);
    }
}

#[test]
fn names_of_kinds_are_words() {
    for kind in kinds::TOKENS.iter().chain(kinds::OTHERS) {
        let is_word = kind
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(
            is_word && !kind.title.is_empty() && !kind.source.is_empty(),
            "{}",
            kind.name
        );
    }
}

const R: &str = "Zk3vQ8w1TqLx7RbN2yHdP5sG";

/// Name, text, what it is. `{R}`, `{other}` and `{long}` stand for something drawn at random.
const FOUND: &[(&str, &str, &str)] = &[
    // The value of a name.
    ("PASSWORD", "hunter2", "password"),
    ("db.password", "toor", "password"),
    ("PGPASSWORD", "x9y8z7", "password"),
    ("clientSecret", "{R}", "secret"),
    ("API_KEY", "{R}", "api_key"),
    ("token", "a7dkbz.ht5u49kk6f23wsg9", "secret"),
    // dotenv, properties, INI, TOML.
    (".env", "A=1\nDB_PASSWORD=hunter2\nB=2\n", "password"),
    (".env", "export DB_PASSWORD='hunter2'\n", "password"),
    ("app.properties", "spring.datasource.password = hunter2\r\n", "password"),
    ("app.ini", "[db]\npassword: hunter2\n", "password"),
    ("config.toml", "[auth]\ntoken = \"{R}\"\n", "secret"),
    ("x", "# password: hunter2\n", "password"),
    // YAML.
    ("a.yaml", "db:\n  user: app\n  password: hunter2\n", "password"),
    ("a.yaml", "db: {user: app, password: hunter2}\n", "password"),
    ("a.yaml", "password: |\n  hunter2\n", "password"),
    ("a.yaml", "passwords:\n  - hunter2\n  - letmein9\n", "password"),
    (
        "a.yaml",
        "env:\n  - name: DB_PASSWORD\n    value: hunter2\n",
        "password",
    ),
    ("a.yaml", "- {name: API_TOKEN, value: \"{R}\"}\n", "secret"),
    ("a.yaml", "unseal_keys: [\"{R}\", \"{other}\"]\n", "api_key"),
    // JSON, also inside a string.
    ("a.json", "{\"password\": \"hunter2\"}", "password"),
    ("a.json", "{\"a\":{\"apiKey\":\"{R}\"}}", "api_key"),
    (
        "a.json",
        "{\"doc\": \"{\\\"password\\\": \\\"hunter2\\\"}\"}",
        "password",
    ),
    (
        "a.json",
        "[{\"name\": \"DB_PASSWORD\", \"value\": \"hunter2\"}]",
        "password",
    ),
    (
        "a.json",
        "{\"\\u043f\\u0430\\u0440\\u043e\\u043b\\u044c\": \"hunter2\"}",
        "password",
    ),
    // XML and markup.
    ("a.xml", "<password>hunter2</password>", "password"),
    ("a.xml", "<add key=\"DbPassword\" value=\"hunter2\"/>", "password"),
    (
        "a.xml",
        "<property name=\"connection.password\">hunter2</property>",
        "password",
    ),
    ("a.xml", "<user name=\"app\" password=\"hunter2\"/>", "password"),
    ("README.md", "| password | {R} |\n", "password"),
    // Programs.
    ("a.py", "PASSWORD = 'hunter2'\n", "password"),
    ("a.py", "config[\"password\"] = \"hunter2\"\n", "password"),
    ("a.go", "var dbPassword string = \"hunter2\"\n", "password"),
    ("a.php", "define('DB_PASSWORD', 'hunter2');\n", "password"),
    ("a.rb", "password => 'hunter2'\n", "password"),
    ("a.tf", "password = \"hunter2\"\n", "password"),
    ("a.js", "module.exports = { password: 'hunter2' };", "password"),
    // Command lines.
    ("run.sh", "app --password hunter2 --verbose", "password"),
    ("run.sh", "app --password=hunter2", "password"),
    ("run.sh", "mysql -u root -phunter2 app", "command_line"),
    ("run.sh", "redis-cli -a hunter2 ping", "command_line"),
    ("run.sh", "sshpass -p hunter2 ssh host", "command_line"),
    ("run.sh", "curl -u app:hunter2 https://x", "command_line"),
    ("run.sh", "docker login -u app -p hunter2 registry", "command_line"),
    ("run.sh", "ldapsearch -D cn=a -w hunter2 -b dc=x", "command_line"),
    ("run.sh", "PGPASSWORD=hunter2 psql -h db", "password"),
    ("run.sh", "curl -H \"Authorization: Bearer {R}\" x", "bearer_token"),
    // SQL and lines of configuration.
    ("a.sql", "ALTER USER app WITH PASSWORD 'hunter2';", "password"),
    ("a.sql", "CREATE USER 'a'@'%' IDENTIFIED BY 'hunter2';", "password"),
    ("redis.conf", "requirepass hunter2\n", "password"),
    ("ldap.conf", "BINDPW hunter2\n", "password"),
    (
        ".netrc",
        "machine example.com\nlogin app\npassword hunter2\n",
        "password",
    ),
    (".pgpass", "db:5432:*:app:hunter2\n", "password_file"),
    ("users", "app:{SHA}vR1HAxF/+fNnu56C5Ffsu0pI0Ew=\n", "password_hash"),
    ("ipsec.secrets", ": PSK \"hunter2\"\n", "password"),
    // URLs and connection strings.
    ("a", "DATABASE_URL=postgres://app:hunter2@db:5432/app", "url_password"),
    ("a", "redis://:hunter2@redis:6379", "url_password"),
    ("a", "jdbc:oracle:thin:app/hunter2@//db:1521/X", "url_password"),
    ("a", "jdbc:mysql://db/app?user=app&password=hunter2", "password"),
    ("a", "Server=db;User Id=app;Password=hunter2;Encrypt=true", "password"),
    ("a", "host=db user=app password=hunter2 dbname=app", "password"),
    ("a", "AccountName=a;AccountKey={long}==;EndpointSuffix=x", "api_key"),
    ("README.md", "**Password:** {R}\n", "password"),
    ("a.rs", "let api_key: &str = \"{R}\";", "api_key"),
    ("a.yaml", "password: !!str {R}\n", "password"),
    ("a.properties", "db.password=\\\n  {R}\n", "password"),
    ("run.sh", "app --password \\\n  {R}\n", "password"),
    (
        "a.xml",
        "<AdministratorPassword><Value>hunter2</Value></AdministratorPassword>",
        "password",
    ),
    ("a.plist", "<key>password</key><string>hunter2</string>", "password"),
    (
        "sasl_passwd",
        "[smtp.example.com]:587 app@example.com:hunter2\n",
        "password_file",
    ),
    // Other languages.
    ("a.yaml", "contraseña: hunter2\n", "password"),
    ("a.yaml", "пароль: hunter2\n", "password"),
    ("a.yaml", "密码: hunter2\n", "password"),
    ("a.ini", "mot_de_passe = hunter2\n", "password"),
    ("a.env", "HASŁO=hunter2\n", "password"),
];

#[test]
fn what_is_found() {
    for (name, text, kind) in FOUND {
        let (long, other) = (&R.repeat(4)[..86], R.to_lowercase());
        let text = text
            .replace("{R}", R)
            .replace("{long}", long)
            .replace("{other}", &other);
        assert!(
            kinds(name, text.as_bytes()).contains(kind),
            "{name}: {text}: {:?}",
            kinds(name, text.as_bytes())
        );
    }
}

/// Name and text that hold nothing.
const CLEAN: &[(&str, &str)] = &[
    // Nothing there, or a place for it.
    ("PASSWORD", ""),
    ("PASSWORD", "\"\""),
    ("PASSWORD", "changeme"),
    ("PASSWORD", "<your-password>"),
    ("PASSWORD", "xxxxxxxx"),
    ("PASSWORD", "********"),
    (
        "alert",
        "findings=(app.env line 1: Password, medium: DB_PASSWORD=***) user=a",
    ),
    ("PASSWORD", "REPLACE_ME"),
    ("PASSWORD", "null"),
    ("PASSWORD", "true"),
    ("API_KEY", "your-api-key-here"),
    ("API_KEY", "00000000-0000-0000-0000-000000000000"),
    ("token", "abcdefghijklmnopqrstuvwxyz"),
    ("key", "0123456789abcdef0123456789abcdef"),
    // Filled in from elsewhere.
    ("PASSWORD", "${DB_PASSWORD}"),
    ("PASSWORD", "$(DB_PASSWORD)"),
    ("PASSWORD", "$DB_PASSWORD"),
    ("PASSWORD", "%DB_PASSWORD%"),
    ("PASSWORD", "{{ .Values.password }}"),
    ("PASSWORD", "<%= ENV['DB_PASSWORD'] %>"),
    ("PASSWORD", "$__file{/etc/secrets/pw}"),
    ("PASSWORD", "process.env.DB_PASSWORD"),
    ("PASSWORD", "os.environ[\"DB_PASSWORD\"]"),
    ("a.env", "PASSWORD=${DB_PASSWORD:?required}\n"),
    ("a.yaml", "url: postgres://app:${DB_PASSWORD}@db/app\n"),
    ("a.yaml", "url: amqp://$(USER):$(PASS)@mq\n"),
    ("a.yaml", "url: mongodb://<user>:<password>@db\n"),
    // Says where it is.
    ("PASSWORD", "/run/secrets/db-password"),
    ("PASSWORD", "vault:secret/data/db#password"),
    ("PASSWORD", "op://prod/db/password"),
    ("PASSWORD", "ref+vault://secret/db#/password"),
    ("PASSWORD", "projects/p/secrets/db-password/versions/latest"),
    ("PASSWORD", "db-credentials"),
    ("secretName", "my-app-secrets-v2"),
    ("imagePullSecrets", "regcred"),
    ("password_file", "/etc/password"),
    // Opened by a key only.
    (
        "PASSWORD",
        "ENC[AES256_GCM,data:Zk3vQ8w1TqLx,iv:Zk3vQ8w1TqLx7RbN2yHd,tag:Zk3v==,type:str]",
    ),
    ("PASSWORD", "{cipher}7a09f518d5b7cdf065e7b8adc757f5dc25e5932d33a73c84"),
    ("PASSWORD", "vault:v1:Zk3vQ8w1TqLx7RbN2yHdP5sGZk3vQ8w1"),
    ("PASSWORD", "ENC(Zk3vQ8w1TqLx7RbN2yHdP5sG)"),
    // For everybody.
    ("public_key", "Zk3vQ8w1TqLx7RbN2yHdP5sGZk3vQ8w1TqLx7RbN2yH="),
    ("RECAPTCHA_SITE_KEY", "6Lf4sdE2SBKReZh7mnUWaXA6QprN60knblhbYcn6"),
    (
        "CHECKSUM",
        "45d42bdf835b58cbfae0f3f21406829db4d014356e4b9fc54797b3bac2d6aa3b",
    ),
    ("GIT_COMMIT", "56906cd4c4363fbd4edde553c554a6cc74ef0411"),
    ("AZURE_CLIENT_ID", "a090c232-52d2-4e40-941a-2dda63705889"),
    (
        "SENTRY_DSN",
        "https://5a01e70c7c4ed3de6d8a5eb89341b524@o447782.ingest.sentry.io/8831157",
    ),
    (
        "id_ed25519.pub",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK6fbyFDRUrN72Ty84QtGWZXoafbbfUy8B3OOv2ou5wS a@b",
    ),
    (
        "images",
        "web: registry/web@sha256:162da4ee6773a8313f66155a5b1f0c529cc228ad85cbd4d72a83cfa14477847d",
    ),
    (
        "go.sum",
        "example.com/a v1.3.0 h1:XM9jxZR6rEAnXECnCX2lwnkEXdt6PH6dM8rR1lxugNE=\n",
    ),
    // Speaks about it.
    ("passwordPolicy", "strong"),
    ("PASSWORD_MIN_LENGTH", "12"),
    ("token_url", "https://idp/oauth2/token"),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", "30"),
    (
        "i18n.json",
        "{\"password\": \"Contraseña\", \"hint\": \"Forgot your password? Click here.\"}",
    ),
    ("i18n_password", "Passwort eingeben"),
    ("tokenizer", "cl100k_base"),
    ("sort_key", "created_at"),
    ("compass", "north"),
    ("keyboard_layout", "us"),
    ("monkey_patch", "gevent"),
    ("README", "Set `password:` in values.yaml. Never commit your token.\n"),
    ("README", "the file starts with `-----BEGIN RSA PRIVATE KEY-----`.\n"),
    (
        "index.html",
        "<input type=\"password\" name=\"password\" placeholder=\"Password\" id=\"pwd\">",
    ),
    ("run.sh", "curl -u \"$USER:$PASSWORD\" https://x\n"),
    ("run.sh", "curl -u user:password https://x\n"),
    ("run.sh", "mysql -u root -p$MYSQL_PASSWORD\n"),
    ("run.sh", "mysqldump -h db -u root -p app > dump.sql\n"),
    // Documentation.
    ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("token", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("SLACK_TOKEN", "xoxb-your-token-here"),
];

#[test]
fn what_is_clean() {
    for (name, text) in CLEAN {
        let found = scan(name, text.as_bytes());
        assert!(found.is_empty(), "{name}: {text}: {found:?}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    crate::base64::encode(bytes).into_bytes()
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect()
}

fn utf16(text: &str, mark: &[u8], order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    mark.iter()
        .copied()
        .chain(text.encode_utf16().flat_map(order))
        .collect()
}

#[test]
fn what_is_wrapped() {
    let text = "HOST=db.example.com\nPASSWORD=hunter2\nPORT=5432\n";
    let bytes = text.as_bytes();
    let percent: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
    let unicode: String = text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    let entities: String = text.chars().map(|c| format!("&#{};", c as u32)).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("base64", base64(bytes)),
        ("base64 of base64", base64(&base64(bytes))),
        (
            "base64 in lines",
            base64(&bytes.repeat(4)).chunks(64).collect::<Vec<_>>().join(&b'\n'),
        ),
        ("base64 behind a name", [&b"blob: "[..], &base64(bytes), b"\n"].concat()),
        (
            "base64 of a data URI",
            [&b"data:text/plain;base64,"[..], &base64(bytes)].concat(),
        ),
        ("gzip", gzip(bytes)),
        ("base64 of gzip", base64(&gzip(bytes))),
        ("base64 of base64 of gzip", base64(&base64(&gzip(bytes)))),
        ("zlib", zlib(bytes)),
        ("base64 of zlib", base64(&zlib(bytes))),
        ("hexadecimal digits", hex(bytes)),
        ("UTF-16, little end first", utf16(text, &[0xff, 0xfe], u16::to_le_bytes)),
        ("UTF-16, big end first", utf16(text, &[0xfe, 0xff], u16::to_be_bytes)),
        ("UTF-16 without a mark", utf16(text, &[], u16::to_le_bytes)),
        ("UTF-8 with a mark", [&[0xef, 0xbb, 0xbf][..], bytes].concat()),
        ("base64 of UTF-16", base64(&utf16(text, &[], u16::to_le_bytes))),
        ("percent signs", percent.into_bytes()),
        ("escapes", unicode.into_bytes()),
        ("character references", entities.into_bytes()),
    ];
    for (what, wrapped) in cases {
        let found = scan("blob", &wrapped);
        assert!(found.iter().any(|f| f.kind == "password"), "{what}: {found:?}");
        assert!(
            found.iter().all(|f| !f.excerpt.contains("hunter2")),
            "{what}: {found:?}"
        );
        let form = [("hexadecimal", "hex"), ("base64", "base64")];
        if let Some((_, form)) = form.into_iter().find(|(start, _)| what.starts_with(start)) {
            assert_eq!(found[0].layers[0], form, "{what}");
        }
    }
}

#[test]
fn what_explodes_is_cut_short() {
    let bomb = gzip(&vec![b'a'; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(scan("bomb", &bomb), []);
    let mut nested = b"PASSWORD=hunter2\nand more text that is long enough\n".to_vec();
    for _ in 0..12 {
        nested = base64(&nested);
    }
    assert_eq!(scan("nested", &nested), []);
}

#[test]
fn nothing_that_is_printed_tells_a_secret() {
    let secret = "hunter2-hunter2";
    let text = format!("user: {secret}\npassword: {secret}\n# {secret} again password={secret} and {secret}\n");
    for finding in scan("a.yaml", text.as_bytes()) {
        assert!(!format!("{finding:?}").contains("hunter2"), "{finding:?}");
    }
    assert!(!format!("{:?}", detector()).contains('7'));
    let masked = mask::text(text.as_bytes()).unwrap();
    assert!(
        !String::from_utf8_lossy(&masked).contains("hunter2"),
        "{}",
        String::from_utf8_lossy(&masked)
    );
}

#[test]
fn masked_objects_are_objects() {
    let cases = [
        (r#"{"a":"1","password":"hunter2"}"#, r#"{"a":"1","password":"***"}"#),
        (
            r#"{"a.env":"X=1\nPASSWORD=hunter2\n"}"#,
            r#"{"a.env":"X=1\nPASSWORD=***\n"}"#,
        ),
        (
            r#"[{"op":"add","path":"/data/x","value":"token: \"glpat-Zk3vQ8w1TqLx7RbN2yHd\""}]"#,
            r#"[{"op":"add","path":"/data/x","value":"token: \"***\""}]"#,
        ),
    ];
    for (text, masked) in cases {
        assert_eq!(String::from_utf8_lossy(&mask::text(text.as_bytes()).unwrap()), masked);
    }
    assert!(mask::text(br#"{"a":"1","password":"${PASSWORD}"}"#).is_none());
}

#[test]
fn the_same_secret_has_the_same_tag_and_another_key_another_one() {
    let tags = |detector: &Detector| {
        let mut findings = Vec::new();
        detector.scan("a", b"PASSWORD=hunter2\n", &mut findings);
        detector.scan("b", b"password: hunter2\n", &mut findings);
        detector.scan("b", b"password: hunter3\n", &mut findings);
        findings.into_iter().map(|f| f.tag).collect::<Vec<_>>()
    };
    let [a, b, c] = tags(&detector())[..] else { panic!() };
    assert!(a == b && a != c);
    assert_ne!(a, tags(&Detector::new(&[8; 32]))[0]);
}

#[test]
fn lines_are_those_of_the_value() {
    let lines = |text: &str| scan("a", text.as_bytes()).iter().map(|f| f.line).collect::<Vec<_>>();
    assert_eq!(
        lines("a: 1\nb: 2\npassword: hunter2\nc: 3\ntoken: Zk3vQ8w1TqLx7RbN2yHd\n"),
        [3, 5]
    );
    let wrapped = String::from_utf8(base64(b"some text\nPASSWORD=hunter2\nand so on\n")).unwrap();
    assert_eq!(lines(&format!("a: 1\nblob: {wrapped}\n")), [2]);
}
