//! Words that names are made of, and words that stand where a secret should be.
//!
//! Facts of languages and of the field; a new word is a word in its list.

/// Names of what a person types to get in: any literal value counts. English forms that stand as a word of their own.
pub const PASSWORD: &str = "\
    password passwords passwd passwort pwd pword passphrase passcode pass pw psk pswd psw bindpw rootpw adminpw dbpw \
    keypass storepass userpass dbpass rootpass adminpass sshpass mypass ldappass ftppass smtppass mailpass authpass \
    keystorepass truststorepass passw passwrd pincode pin requirepass identified masterauth masteruserpassword \
    sshpassword psswd paswd pasword userpw auth_pass wpapsk contraseña contrasena contrasenya contrasinal senha \
    palavrapasse clave clavesecreta motdepasse mdp kennwort losungswort geheimnis wachtwoord paswoord hasło haslo \
    пароль парола лозинка пароли parola şifre sifre salasana lösenord losenord passord adgangskode kodeord heslo \
    jelszó jelszo lozinka zaporka geslo slaptažodis slaptazodis parole parool salasõna κωδικός κωδικοσ συνθηματικό \
    סיסמה סיסמא كلمة_المرور كلمةالمرور كلمة_السر كلمةالسر رمز_المرور رمزعبور گذرواژه पासवर्ड पासवर्डः পাসওয়ার্ড \
    கடவுச்சொல் รหัสผ่าน mật_khẩu mậtkhẩu matkhau katasandi sandi kata_sandi kata_laluan nenosiri 密码 密碼 口令 密匙 パスワード \
    暗証番号 パスフレーズ 비밀번호 암호 패스워드 lykilorð lykilord aðgangsorð fjalëkalim fjalekalim pasahitza focalfaire cyfrinair \
    գաղտնաբառ პაროლი құпиясөз лозинку нууцүг wagwoord salaskannad";

/// Names of what a machine shows to get in: the value has to look drawn at random.
pub const SECRET: &str = "\
    secret secrets token tokens apikey apikeys apitoken accesskey accesstoken secretkey authkey authtoken privatekey \
    encryptionkey signingkey masterkey licensekey licencekey sharedkey sessionkey clientsecret credential \
    credentials creds cred bearer pat jwt salt pepper hmac apisecret appkey appsecret servicekey routingkey \
    integrationkey accountkey sas sig signature sastoken otp totp mfa seed mnemonic authorization auth authn cookie \
    session sessionid sessid fernet unseal dsn webhook apipass querykey deploykey sshkey rsakey storagekey writekey \
    readkey ingestkey functionkey hostkey connectionkey subscriptionkey presharedkey identitytoken refreshtoken \
    registrationtoken secretaccesskey ak sk skey ikey tkn authcode passkey clientkey keydata encryptkey cryptkey \
    aeskey deskey hashkey hashsalt cookiesecret usertoken bottoken securitykey adminkey serverkey accesskeysecret \
    securitytoken sessiontoken apiauthkey privkey secretstring certificatekey nonce secreto segredo geheim geheimnis \
    schlüssel schluessel секрет ключ токен 密钥 密鑰 令牌 秘密鍵 トークン 시크릿 토큰 비밀키 jeton clé cle clesecrete clave_api chave \
    chavesecreta chiave sleutel klucz klíč nyckel avain anahtar kunci khóa مفتاح מפתח कुंजी κλειδί clau";

/// What makes a key a secret when it stands before it.
pub const OF_SECRET_KEYS: &str = "\
    api access secret private priv auth authentication authorization encryption encrypt encrypted crypto crypt \
    cipher decryption signing sign signature master license licence service app application account consumer client \
    deploy deployment storage shared preshared session cookie hmac jwt jwe fernet aes des rsa ed25519 dsa ecdsa ssh \
    admin webhook write read ingest ingestion integration routing unseal recovery root user server token \
    subscription function host connection registration security secure developer project org team merchant partner \
    functions query insert personal env environment live prod production test sandbox sdk rest web device trunk \
    sending mail email smtp payments payment hash totp otp tsig wireguard wg vpn peer node cluster agent bot dev \
    internal global sample my x db database data backup ca tls ssl signer provision";

/// A key of these is for everybody to see, or is no key at all.
pub const PUBLIC: &str = "\
    public publishable pub site csrf xsrf authenticity vapid recaptcha sitekey pubkey hcaptcha turnstile anon known \
    fingerprint thumbprint trusted jwks jwk host_key sha sha1 sha256 sha384 sha512 md5 digest checksum hash \
    integrity etag commit revision rev crc sum cid primary_key foreign partition sort cache primary index \
    idempotency lookup translation i18n locale dashboard dnskey ds rrsig cert certificate certs certificates x509 \
    bundle image object bucket row column map dict hotkey shortcut keyboard";

/// After the word, these say the same thing once more, or which of several it is.
pub const NEUTRAL: &str = "\
    value val string str base plain plaintext cleartext raw b64 base64 hex encoded default prod production dev \
    development stage staging test testing qa uat old new current prev previous primary secondary backup main live \
    sandbox part a b c x y env data list sid internal external local global v1 v2 v3 one two first second left right \
    admin root user readonly ro rw master slave replica db database mysql postgres redis mongo rabbitmq smtp ldap \
    ftp io com net org app api arr array const var field param arg opt copy tmp temp final initial hash hashed \
    bcrypt crypt md5 half chunk segment start end head tail is was here";

/// Values that say that there is none, or that somebody has to put one there.
pub const PLACEHOLDER: &str = "\
    changeme change changeit replaceme replace placeholder example sample dummy fake test testing demo todo fixme \
    tbd none null nil undefined unset empty blank default true false yes no on off enabled disabled enable disable \
    required optional ask prompt hidden redacted masked removed censored encrypted unused notused na n/a xxx foo bar \
    foobar baz your insert enter fill fillme setme string text str int bool value values secretkeyref secretref \
    configmapkeyref valuefrom fromsecret secret secrets password passwords passwd pass token tokens key keys apikey \
    credential credentials user username login anonymous file env environment vault auto generated generate random \
    inherit plain basic bearer digest md5 scram oauth oauth2 oidc jwt ldap kerberos kubernetes strong weak any all \
    self this input stdin keyring keychain pgpass tls ssl mtls here somepassword somesecret sometoken notasecret \
    ignored ignore skip never always public private object array number boolean required. deprecated nope unknown \
    missing ref reference managed external internal yourpassword header query body cookie form path hash hashed \
    bcrypt argon2 sha256 sha512 rsa ecdsa ed25519 hs256 rs256 aes interactive manual dynamic static rotate rotated \
    expired revoked valid invalid wrong incorrect correct ok set get read write readonly";

/// Words that make a value of several words a placeholder wherever they stand.
pub const PLACEHOLDER_PART: &str = "\
    changeme change-me change_me replace-me replace_me replaceme replace_with replace-with placeholder your_ your- \
    yourpassword yoursecret yourtoken yourkey yourapi my-secret- example dummy fixme todo: redacted insert- insert_ \
    enter- enter_ put-your put_your goes-here goes_here -here _here here> not-used not_used notreal not-real \
    not_real not-a-real sample- sample_ fake- fake_ fill-in fill_in to-be- to_be_ xxxx *** .... ____ #### •• ●● \
    from-secret from_secret from-env secretkeyref _token_here tobereplaced tobechanged setme insertyour somesecret \
    tokenhere stringhere keyhere accesstokenhere ask- see-vault in-vault lorem";

/// Last words of the name of a Secret or of an entry of it: who writes them names where a secret is.
pub const REFERENCE_TAIL: &str = "\
    secret secrets creds cred credential credentials password passwd pass pwd auth token tokens key keys apikey cert \
    certs tls ref kubeconfig config account provider authn conf file env vault name id value store header class kv";

/// Well-known services that give keys to their users: after such a name, what is drawn at random is a key.
pub const SERVICES: &str = "\
    adafruit adobe adyen aiven airbrake airtable alchemy algolia alibaba aliyun amadeus amplitude anthropic apify \
    artifactory asana atlassian autodesk azure backblaze bamboo beamer bigcommerce binance bitbucket bitfinex bitly \
    bittrex braintree brevo browserstack bugsnag buildkite calendly censys chargebee circleci clearbit clickhouse \
    clickup clockify cloudflare cloudinary cloudsmith codacy codeclimate codecov cohere coinapi coinbase confluent \
    contentful coveralls crowdin crowdstrike customerio databricks datadog deepai deepgram deepl deepseek delighted \
    detectify digicert digitalocean discord discourse disqus docusign doppler dropbox dwolla dynatrace easypost \
    elastic elevenlabs etherscan etsy eventbrite facebook fastly figma finicity finnhub firebase fireworks fixer \
    flickr flutterwave flyio foursquare freshbooks freshdesk front fullstory geocodio github gitlab gitter \
    gocardless google grafana graphhopper groq gtmetrix gumroad harness heroku hetzner honeycomb hotjar hubspot \
    huggingface hunter infura instagram intercom ipinfo ipstack jfrog jenkins jira jumpcloud kaggle keen klaviyo \
    kraken kucoin langfuse launchdarkly linear linkedin linode locationiq logdna loggly logzio lokalise looker \
    mailchimp mailgun mailjet mandrill mapbox mapquest mattermost maxmind messagebird microsoft miro mistral \
    mixpanel monday mongodb mux nasdaq neon netlify newrelic newsapi nexmo ngrok notion numverify nylas nytimes okta \
    onelogin onesignal openai openrouter openweather openweathermap opsgenie optimizely packagecloud pagerduty \
    pandadoc particle pastebin paypal paystack perplexity pinata pinecone pingdom pinterest pipedream pipedrive \
    pixabay plaid planetscale plivo podio postman postmark prefect pubnub pulumi pushbullet pusher pushover qualys \
    quay rapidapi razorpay readme replicate ringcentral rollbar rubygems salesforce saucelabs scaleway scrapingbee \
    securitytrails segment semaphore sendbird sendgrid sendinblue sentry shippo shodan shopify shutterstock sinch \
    slack smartsheet snowflake snyk sonar sonarcloud sonarqube sourcegraph sparkpost splunk spotify square \
    squarespace statuspage stripe sumologic supabase tailscale telegram telegr telnyx terraform tinybird todoist \
    toggl tomtom travis travisci trello twilio twitch twitter typeform unsplash uptimerobot urlscan vercel \
    virustotal vonage vultr wakatime webex webflow wistia wordpress wrike yandex yelp youtube zapier zendesk zoho \
    zoom zulip";
