//! The table of kinds: what each credential is, how it is told, and where the fact comes from.
//!
//! A token that has a form of its own is a row of [`TOKENS`], written as it looks: letters stand for themselves, and
//! `<class:least-most>` for a run of characters of a [`class`]. Everything else is a row of [`OTHERS`], with the place in
//! the code that finds it.

use super::Confidence;

/// A sort of credential.
#[derive(Debug)]
pub struct Kind {
    /// The name that rules and allow-lists use.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// The forms of a token, a space between them; none where names and structure tell it.
    pub forms: &'static str,
    /// How it is told otherwise, in words.
    pub told_by: &'static str,
    /// One that is no secret.
    pub example: &'static str,
    pub confidence: Confidence,
    pub check: Check,
    /// The public documentation that the fact comes from.
    pub source: &'static str,
}

/// What is checked beyond the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The last six characters are the CRC-32 of those before, in base 62 (GitHub, npm).
    Base62Crc32,
    /// The last eight are the CRC-32 of those before, in hexadecimal digits (Grafana).
    HexCrc32,
    /// What follows the beginning was drawn at random.
    Random,
    /// The first part is JSON in base64.
    Jwt,
    None,
}

/// Characters of a class, and those that base64 and URLs have in common.
pub fn class(name: u8) -> fn(u8) -> bool {
    match name {
        b'd' => |b| b.is_ascii_digit(),
        b'h' => |b| matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        b'H' => |b| b.is_ascii_hexdigit(),
        b'l' => |b| b.is_ascii_lowercase() || b.is_ascii_digit(),
        b'u' => |b| b.is_ascii_uppercase() || b.is_ascii_digit(),
        b'a' => |b| b.is_ascii_alphabetic(),
        b'w' => |b| b.is_ascii_alphanumeric(),
        b'b' => |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'),
        b'B' => |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'),
        b'x' => |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
        b'p' => |b| b.is_ascii_alphanumeric() || b == b'%',
        _ => |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+' | b'/' | b'=' | b'~' | b'%'),
    }
}

const fn token(
    name: &'static str,
    title: &'static str,
    forms: &'static str,
    check: Check,
    example: &'static str,
    source: &'static str,
) -> Kind {
    Kind {
        name,
        title,
        forms,
        told_by: "",
        example,
        confidence: Confidence::High,
        check,
        source,
    }
}

const fn other(
    name: &'static str,
    title: &'static str,
    confidence: Confidence,
    told_by: &'static str,
    example: &'static str,
    source: &'static str,
) -> Kind {
    Kind {
        name,
        title,
        forms: "",
        told_by,
        example,
        confidence,
        check: Check::None,
        source,
    }
}

use Check::{Base62Crc32, HexCrc32, Jwt, None as No, Random};

/// Tokens with a form of their own.
pub const TOKENS: &[Kind] = &[
    token(
        "github_token",
        "GitHub token",
        "ghp_<w:36-255> gho_<w:36-255> ghu_<w:36-255> ghs_<w:36-255> ghr_<w:36-255>",
        Base62Crc32,
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "GitHub Docs, About authentication to GitHub: token formats",
    ),
    token(
        "github_token",
        "GitHub fine-grained token",
        "github_pat_<B:22>_<w:59> github_pat_<b:82>",
        Random,
        "github_pat_xxxxxxxxxxxxxxxxxxxxxx_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "GitHub Docs, Managing your personal access tokens",
    ),
    token(
        "gitlab_token",
        "GitLab token",
        "glpat-<x:20-300> gldt-<b:20-300> glrt-<x:20-300> glrtr-<b:20-300> glptt-<h:40> glcbt-<x:20-300> \
         glimt-<b:25> glagent-<b:50-1024> gloas-<b:64> glsoat-<b:20> glffct-<b:20> glft-<b:20-64> glwt-<b:20-64> \
         GR1348941<b:20>",
        Random,
        "glpat-xxxxxxxxxxxxxxxxxxxx",
        "GitLab Docs, Token overview: token prefixes",
    ),
    token(
        "slack_token",
        "Slack token",
        "xoxb-<d:6-14>-<d:6-14>-<w:15-64> xoxb-<d:8-14>-<w:10-26> xoxp-<d:6-14>-<d:6-14>-<d:6-14>-<w:28-64> \
         xoxe-<d:1>-<w:100-200> xoxe.xoxp-<d:1>-<w:100-200> xoxe.xoxb-<d:1>-<w:100-200> xox<a:1>-<b:8-255> \
         xoxo-<d:1-12>-<d:1-12>-<d:1-12>-<w:1-64> xoxs-<d:1-12>-<d:1-12>-<d:1-12>-<w:1-64> \
         xapp-<d:1>-<w:1-20>-<d:1-20>-<w:1-100> xwfp-<b:20-255>",
        Random,
        "xoxb-000000000000-xxxxxxxxxxxxxxxxxxxxxxxx",
        "Slack API documentation, Token types",
    ),
    token(
        "slack_webhook",
        "Slack webhook address",
        "hooks.slack.com/services/T<w:6-16>/B<w:6-16>/<w:16-40> hooks.slack.com/workflows/<B:20-120> \
         hooks.slack.com/triggers/<B:20-120> hooks.slack-gov.com/services/T<w:6-16>/B<w:6-16>/<w:16-40>",
        Random,
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "Slack API documentation, Sending messages using incoming webhooks",
    ),
    token(
        "aws_access_key_id",
        "AWS access key ID",
        "AKIA<u:16> ASIA<u:16> ABIA<u:16> ACCA<u:16> A3T<u:17>",
        Random,
        "AKIAIOSFODNN7EXAMPLE",
        "AWS IAM User Guide, IAM identifiers: unique ID prefixes",
    ),
    token(
        "aws_bedrock_key",
        "Amazon Bedrock API key",
        "ABSK<B:100-280> bedrock-api-key-<s:40-2000>",
        Random,
        "ABSKxxxx",
        "Amazon Bedrock User Guide, API keys",
    ),
    token(
        "aws_session_token",
        "AWS session token",
        "FwoGZXIvYXdz<B:60-2000> IQoJb3JpZ2lu<B:60-2000>",
        Random,
        "FwoGZXIvYXdzEXAMPLE",
        "AWS STS API reference, Credentials: SessionToken",
    ),
    token(
        "aws_mws_token",
        "Amazon MWS token",
        "amzn.mws.<h:8>-<h:4>-<h:4>-<h:4>-<h:12> amzn1.oa2-cs.v1.<h:64>",
        No,
        "amzn.mws.xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "Amazon Selling Partner documentation",
    ),
    token(
        "gcp_api_key",
        "Google API key",
        "AIza<b:35>",
        Random,
        "AIzaxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Google Cloud documentation, Manage API keys",
    ),
    token(
        "gcp_oauth_secret",
        "Google OAuth client secret",
        "GOCSPX-<b:28>",
        Random,
        "GOCSPX-xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Google Identity documentation, OAuth 2.0 for web server applications",
    ),
    token(
        "gcp_oauth_token",
        "Google OAuth token",
        "ya29.<x:30-2000> 1//0<b:40-120>",
        Random,
        "ya29.xxxx",
        "Google Identity documentation, OAuth 2.0 token sizes",
    ),
    token(
        "stripe_key",
        "Stripe secret key",
        "sk_live_<w:10-250> sk_test_<w:10-250> rk_live_<w:10-250> rk_test_<w:10-250> sk_prod_<w:10-250> \
         rk_prod_<w:10-250> sk_org_live_<w:10-250> whsec_<B:24-100>",
        Random,
        "sk_live_xxxxxxxxxxxxxxxxxxxxxxxx",
        "Stripe documentation, API keys",
    ),
    token(
        "openai_key",
        "OpenAI API key",
        "sk-proj-<b:40-250> sk-svcacct-<b:40-250> sk-admin-<b:40-250> sk-None-<b:40-250> sk-<w:20>T3BlbkFJ<w:20> \
         sk-<w:48>",
        Random,
        "sk-proj-xxxxxxxx",
        "OpenAI API reference, Authentication",
    ),
    token(
        "anthropic_key",
        "Anthropic API key",
        "sk-ant-api03-<b:80-120> sk-ant-admin01-<b:80-120> sk-ant-oat01-<b:80-120> sk-ant-<b:30-120>",
        Random,
        "sk-ant-api03-xxxx",
        "Anthropic documentation, API overview: authentication",
    ),
    token(
        "ai_key",
        "API key of an AI service",
        "hf_<a:34> hf_<w:34-37> api_org_<a:34> r8_<w:37> gsk_<w:52> pplx-<w:48> pplx-<h:48> xai-<b:70-90> \
         sk-or-v1-<h:64> sk-or-<b:40-80> tvly-<b:20-60> fc-<h:32> sk-lf-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         lsv2_pt_<h:32>_<h:10> lsv2_sk_<h:32>_<h:10> pcsk_<b:40-90> nvapi-<b:60-70> csk-<l:40-60> fw_<w:22-30> \
         tgp_v1_<b:40-50> sk_<h:48> jina_<b:50-70> co_<b:40-60> pa-<b:43> sk-<h:32> dtn_<w:30-70> e2b_<h:40> \
         r_<w:37> voy-<b:40-50> cs-<w:40-50> hl-<w:32-64>",
        Random,
        "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Hugging Face Hub documentation, User access tokens, and those of the other services",
    ),
    token(
        "npm_token",
        "npm access token",
        "npm_<w:36>",
        Base62Crc32,
        "npm_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "GitHub blog, npm access token format improvements (2021)",
    ),
    token(
        "pypi_token",
        "PyPI API token",
        "pypi-AgEIcHlwaS5vcmc<b:40-1000> pypi-AgENdGVzdC5weXBpLm9yZw<b:40-1000>",
        Random,
        "pypi-AgEIcHlwaS5vcmcxxxx",
        "PyPA, API tokens (macaroons)",
    ),
    token(
        "package_token",
        "Token of a package registry",
        "rubygems_<h:48> cio<w:32> oy2<l:43> dckr_pat_<b:27> dckr_oat_<b:32> CLOJARS_<l:60> AKCp<w:10-100> \
         AKC<w:30-100> cmVmdGtuOj<w:50-90> cmVmd<w:59> ptp_<w:30-60> NuGet_<w:40-60>",
        Random,
        "dckr_pat_xxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "RubyGems guides, API keys; Docker documentation, Access tokens; JFrog documentation, Access tokens",
    ),
    token(
        "cloud_token",
        "Token of a cloud provider",
        "dop_v1_<h:64> doo_v1_<h:64> dor_v1_<h:64> fm1_<s:40-2000> fm1a_<s:40-2000> fm1r_<s:40-2000> \
         fm2_<s:40-2000> fo1_<b:40-60> nfp_<w:30-60> nfc_<w:30-60> HRKU-<b:30-70> rnd_<w:28-40> SCW<u:17> \
         v1.0-<h:24>-<h:140-150> pscale_tkn_<x:30-70> pscale_oauth_<x:30-70> pscale_pw_<x:30-70> napi_<l:40-70> \
         sbp_<h:40> sb_secret_<b:20-60> vercel_blob_rw_<w:16>_<w:30> vcp_<w:40-70> LTAI<w:12-24> AKID<w:32> \
         AKLT<w:30-60> AVNS_<b:15-50> dapi<h:32> dose<h:32> CCDB1_<w:22>_<w:40> mdb_sa_sk_<b:30-50> 4b1d<w:38> \
         t1.<s:60-300> y0_<b:50-70> AQVN<b:35-40> cf_<w:60-90> xau_<w:30-50> fnA<b:30-60> \
         tskey-<l:3-10>-<w:8-40>-<w:20-60> tskey-<w:20-60> ov1_<w:30-60> sct_<w:30-60> rds_<w:40-60>",
        Random,
        "dop_v1_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "DigitalOcean, Fly.io, Cloudflare, PlanetScale, Supabase, Alibaba Cloud and Databricks documentation on tokens",
    ),
    token(
        "vault_token",
        "HashiCorp Vault token",
        "hvs.<b:20-300> hvb.<b:90-500> hvr.<b:20-300> s.<w:24>",
        Random,
        "hvs.xxxxxxxxxxxxxxxxxxxxxxxx",
        "HashiCorp Vault documentation, Tokens: token prefixes",
    ),
    token(
        "iac_token",
        "Token of infrastructure as code",
        "pul-<h:40> ico-<w:32> dp.pt.<w:40-46> dp.st.<x:40-90> dp.ct.<w:40-46> dp.sa.<w:40-46> dp.scim.<w:40-46> \
         dp.audit.<w:40-46> pnu_<w:36> pnb_<w:36> dbtc_<b:30-60> dbtu_<b:30-60> pat.<b:22>.<H:24>.<w:20> \
         sat.<b:22>.<H:24>.<w:20> pat.<b:22>.<w:24>.<w:20> API-<u:26-36> spacelift_<w:30-60> tfe_<w:30-60>",
        Random,
        "pul-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Pulumi, Infracost, Doppler, Prefect and Harness documentation on tokens",
    ),
    token(
        "saas_token",
        "Token of a service",
        "pat<w:14>.<h:64> ntn_<d:11><w:32-40> secret_<w:43> lin_api_<w:40> lin_oauth_<w:40-64> figd_<b:40-50> \
         figd_<w:30-60> figo_<b:40-50> ATATT3<s:100-250> ATCTT3<s:80-250> ATBB<w:24-40> tfp_<b:40-70> \
         CFPAT-<b:43> PMAK-<h:24>-<h:34> PMAT-<w:20-40> rdme_<l:60-80> shippo_live_<h:40> shippo_test_<h:40> \
         EZAK<w:54> EZTK<w:54> duffel_live_<b:43> duffel_test_<b:43> fio-u-<b:40-80> \
         pat-na1-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> pat-eu1-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> sl.<b:60-250> \
         sl.u.<b:60-2000> live_<h:35> test_<h:35> sm_pat_<w:16> sm_aat_<w:16> sm_sat_<w:16> s-s4t2ud-<h:64> \
         s-s4t2af-<h:64> phx_<w:40-50> CCIPAT_<b:20-80> CCIPRJ_<b:20-80> bkua_<h:40> bkct_<b:20-60> \
         bkaj_<w:40-80> sk.eyJ<x:60-200> hawk.<b:20>.<b:20> VF.DM.<h:24>.<w:16> VF.WS.<h:24>.<w:16> \
         1000.<h:32>.<h:32> tkn.v1_<B:40-120> aio_<w:28> odt_<w:32> waka_<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         sgp_<h:16>_<h:40> sgp_local_<h:40> sgp_<H:40> slk_<h:64> squ_<h:40> sqp_<h:40> sqa_<h:40> sntryu_<h:64> \
         sntrya_<h:64> sntrys_eyJ<s:80-400> ops_eyJ<s:100-1200> A3-<u:6>-<u:11>-<u:5>-<u:5>-<u:5> \
         A3-<u:6>-<u:6>-<u:5>-<u:5>-<u:5>-<u:5> endr+<b:16> re_<w:8>_<w:20-30> clh_<w:30-60> cal_live_<w:30-40> \
         tr_prod_<w:20-40> signkey-prod-<h:40-70> ck_<h:40> cs_<h:40> b_<l:44> web_<h:32> server_<h:32> \
         mobile_<h:32> KEY<w:30-32>_<w:20-24> BBDC-<B:30-60> IGQV<b:60-300> ctp_<w:40-60> FLWSECK-<w:32>-X \
         FLWSECK_TEST-<w:32>-X xkeysib-<h:64>-<w:16> sdk-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         api-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> px-dep-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         px-api-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> access-production-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         access-sandbox-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> access-development-<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         sk_sandbox_<w:20-60> zpka_<w:30-60> apify_api_<w:30-40> ubtt_<w:30-60> hcaik_<w:50-70> hcbik_<w:50-70> \
         key_<w:40-60> ghost_<w:30-60> ptr_<s:40-60> glsk_<w:30-60> CLERK_<w:30-60>",
        Random,
        "ntn_00000000000xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Notion, Airtable, Linear, Figma, Atlassian, Postman, Dropbox, HubSpot, Sentry, Sourcegraph, SonarQube, 1Password and other services' documentation on tokens",
    ),
    token(
        "payment_token",
        "Token of a payment service",
        "sq0atp-<b:22> sq0csp-<b:43> EAAA<b:56-64> access_token$production$<l:16>$<h:32> \
         access_token$sandbox$<l:16>$<h:32> shpat_<H:32> shpca_<H:32> shppa_<H:32> shpss_<H:32> rzp_live_<w:14> \
         rzp_test_<w:14> pk_<l:34> pk_<h:34> AQE<w:5-10>gq<s:100-300> sk_us_<w:30-60> sk_eu_<w:30-60>",
        Random,
        "shpat_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Square, Shopify, Braintree and Razorpay documentation on credentials",
    ),
    token(
        "mail_token",
        "Token of a mail or message service",
        "SG.<b:16-24>.<b:35-50> SG.<s:66> key-<h:32> pubkey-<h:32> <h:32>-us<d:1-2> <h:32>-<h:8>-<h:8> SK<H:32> \
         re_<w:24-40>",
        Random,
        "SG.xxxxxxxxxxxxxxxxxxxxxx.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "SendGrid, Mailgun, Mailchimp and Twilio documentation on API keys",
    ),
    token(
        "telegram_token",
        "Telegram bot token",
        "<d:8-10>:AA<b:32-34>",
        Random,
        "0000000000:AAxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Telegram Bot API, Authorizing your bot",
    ),
    token(
        "discord_token",
        "Discord bot token",
        "M<b:22-27>.<b:6>.<b:27-40> N<b:22-27>.<b:6>.<b:27-40> O<b:22-27>.<b:6>.<b:27-40>",
        Random,
        "MTxxxxxxxxxxxxxxxxxxxxxx.xxxxxx.xxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Discord developer documentation, Authentication",
    ),
    token(
        "webhook_url",
        "Webhook address that holds a secret",
        "discord.com/api/webhooks/<d:17-20>/<b:60-80> discordapp.com/api/webhooks/<d:17-20>/<b:60-80> \
         webhook.office.com/webhookb2/<H:8>-<H:4>-<H:4>-<H:4>-<H:12>@<H:8>-<H:4>-<H:4>-<H:4>-<H:12>/IncomingWebhook/<w:30-40> \
         outlook.office.com/webhook/<H:8>-<H:4>-<H:4>-<H:4>-<H:12>@<H:8>-<H:4>-<H:4>-<H:4>-<H:12>/IncomingWebhook/<w:30-40> \
         hooks.zapier.com/hooks/catch/<d:5-10>/<w:6-12> \
         chat.googleapis.com/v1/spaces/<b:8-20>/messages?key=<s:40-200> api.telegram.org/bot<d:8-10>:<b:35> \
         open.feishu.cn/open-apis/bot/v2/hook/<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         open.larksuite.com/open-apis/bot/v2/hook/<h:8>-<h:4>-<h:4>-<h:4>-<h:12> \
         oapi.dingtalk.com/robot/send?access_token=<h:64> \
         qyapi.weixin.qq.com/cgi-bin/webhook/send?key=<h:8>-<h:4>-<h:4>-<h:4>-<h:12> hook.eu1.make.com/<l:30-34> \
         hook.us1.make.com/<l:30-34> maker.ifttt.com/trigger/<b:1-40>/with/key/<b:20-50> \
         thingsboard.cloud/api/v1/<l:20>",
        No,
        "https://discord.com/api/webhooks/000000000000000000/xxxx",
        "Discord, Microsoft Teams, Zapier and Google Chat documentation on incoming webhooks",
    ),
    token(
        "monitoring_token",
        "Token of a monitoring service",
        "NRAK-<u:27> NRII-<b:32> NRIQ-<b:32> NRRA-<h:42> <h:36>NRAL glc_eyJ<B:40-400> glc_<B:32-400> \
         dt0c01.<u:24>.<u:64> dt0s01.<u:24>.<u:64> dt0c01.<w:24>.<w:64> ddp_<w:34> eyJrIjoi<B:60-400>",
        Random,
        "NRAK-XXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "New Relic, Grafana and Dynatrace documentation on tokens",
    ),
    token(
        "grafana_token",
        "Grafana service account token",
        "glsa_<w:32>_<H:8>",
        HexCrc32,
        "glsa_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_xxxxxxxx",
        "Grafana documentation, Service accounts",
    ),
    token(
        "social_token",
        "Token of a social network",
        "EAA<w:90-300> AAAAAAAAAAAAAAAAAAAAAA<p:60-110> <d:15-16>|<b:26-28> 00D<w:12>!<x:80-120>",
        Random,
        "EAACxxxx",
        "Meta for Developers, Access tokens; X developer documentation, Bearer tokens; Salesforce, session IDs",
    ),
    token(
        "kubernetes_token",
        "Kubernetes or OpenShift token",
        "sha256~<b:43> K10<h:64>::<x:5-30>:<H:16-64> K10<h:48-80>::<x:2-30>:<H:16-64> \
         kubeconfig-u-<l:5-12>:<l:54> token-<l:5>:<l:54> SWMTKN-1-<l:50>-<l:25>",
        Random,
        "sha256~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "OpenShift documentation, OAuth tokens; K3s documentation, token",
    ),
    token(
        "age_key",
        "age private key",
        "AGE-SECRET-KEY-1<u:58-59> AGE-PLUGIN-<u:3-20>-1<u:30-200>",
        No,
        "AGE-SECRET-KEY-1XXXXXXXX",
        "age specification (C2SP): identities",
    ),
    token(
        "jwt",
        "JSON Web Token",
        "eyJ<b:8-4000>.eyJ<b:8-8000>.<b:16-2000> eyA<b:8-4000>.eyA<b:8-8000>.<b:16-2000>",
        Jwt,
        "eyJ0eXAiOiJKV1QifQ.eyJleGFtcGxlIjoxfQ.",
        "RFC 7519",
    ),
    token(
        "password_hash",
        "Password hash",
        "$2a$<d:2>$<s:53> $2b$<d:2>$<s:53> $2y$<d:2>$<s:53> $2x$<d:2>$<s:53> $1$<s:1-8>$<s:22> \
         $apr1$<s:1-8>$<s:22> $5$rounds=<d:4-9>$<s:1-32>$<s:43> $6$rounds=<d:4-9>$<s:1-32>$<s:86> \
         $5$<s:1-32>$<s:43> $6$<s:1-32>$<s:86> $7$<s:40-120> $7$<d:1-6>$<s:8-24>$<s:40-100> md5<h:32> {PLAIN}<s:4-80> $8$<s:8-20>$<s:43> $9$<s:8-20>$<s:43> \
         $y$<s:3-10>$<s:10-40>$<s:43> $gy$<s:3-10>$<s:10-40>$<s:43> \
         $argon2id$v=<d:1-3>$<s:5-40>,<s:1-20>,<s:1-20>$<s:11-90>$<s:22-120> \
         $argon2i$v=<d:1-3>$<s:5-40>,<s:1-20>,<s:1-20>$<s:11-90>$<s:22-120> \
         $pbkdf2-sha<d:1-3>$<d:3-7>$<s:8-40>$<s:20-120> pbkdf2_sha256$<d:3-7>$<s:4-40>$<s:40-60> \
         pbkdf2:sha256:<d:3-7>$<s:4-40>$<h:64> scrypt:<d:3-7>:<d:1>:<d:1>$<s:4-40>$<h:64-128> \
         $scrypt$ln=<d:1-3>,<s:3-10>,<s:3-10>$<s:8-60>$<s:20-120> {SSHA}<B:30-80> {SSHA256}<B:40-100> \
         {SSHA512}<B:80-160> {SHA}<B:27> {SMD5}<B:24-40> {CRYPT}$<s:10-120> {PBKDF2-SHA256}<s:40-160> \
         SCRAM-SHA-256$<d:3-7>:<B:20-32> $krb5asrep$<d:2>$<s:3-80> $krb5tgs$<d:2>$<s:3-80> $DCC2$<s:10-80> \
         $S$<s:52> $P$<s:31> $H$<s:31>",
        No,
        "$apr1$xxxxxxxx$xxxxxxxxxxxxxxxxxxxxxx",
        "crypt(5); Apache HTTP Server documentation, Password formats; PHC string format",
    ),
];

/// Position of a row of [`OTHERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Other {
    Password,
    Secret,
    ApiKey,
    PrivateKey,
    Keystore,
    AwsSecretKey,
    AzureKey,
    AzureSecret,
    UrlPassword,
    ConnectionString,
    CommandLine,
    BasicAuth,
    Bearer,
    HtPassword,
    FilePassword,
    Context,
    Terraform,
    Kubeconfig,
    Jwk,
}

impl Other {
    pub fn kind(self) -> &'static Kind {
        &OTHERS[self as usize]
    }
}

use Confidence::{High, Low, Medium};

/// What names and structure tell, in the order of [`Other`].
pub const OTHERS: &[Kind] = &[
    other(
        "password",
        "Password",
        Medium,
        "the last word of the name, in some forty languages, with any literal value",
        "password: changeme",
        "Kubernetes documentation, Secrets: types of Secret",
    ),
    other(
        "secret",
        "Secret or token",
        Medium,
        "the last words of the name (secret, token, credentials) with a value drawn at random",
        "client_secret: <client-secret>",
        "RFC 6749, section 2.3.1",
    ),
    other(
        "api_key",
        "API key",
        Medium,
        "the last words of the name (api key, access key, signing key) or a service's name, with a value drawn at random",
        "API_KEY=your-api-key",
        "OpenAPI specification, security schemes",
    ),
    other(
        "private_key",
        "Private key",
        High,
        "PEM (PKCS#1, PKCS#8, EC, OpenSSH, PGP, SSH2), PuTTY and DER keys with a body, and their halves",
        "-----BEGIN PRIVATE KEY----- in prose, without a body",
        "RFC 7468; RFC 4716; RFC 9580; PuTTY documentation, appendix C",
    ),
    other(
        "keystore",
        "Keystore",
        High,
        "the first bytes of Java key stores and the structure of PKCS#12",
        "a trust store that holds certificates only",
        "RFC 7292; Java Cryptography Architecture guide",
    ),
    other(
        "aws_secret_key",
        "AWS secret access key",
        High,
        "40 characters of base64 behind a name of AWS",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS General Reference, AWS security credentials",
    ),
    other(
        "azure_key",
        "Azure access key",
        High,
        "AccountKey, SharedAccessKey and Secret of a connection string; sig of a shared access signature",
        "AccountKey=<key>",
        "Azure documentation, Configure connection strings; Service SAS",
    ),
    other(
        "azure_client_secret",
        "Azure client secret",
        High,
        "three characters, a digit, Q~ and 31 to 34 characters",
        "xxx8Q~xxxx",
        "Microsoft identity platform documentation, client credentials",
    ),
    other(
        "url_password",
        "Password in a URL",
        High,
        "the part between `:` and `@` of the authority",
        "postgres://app:${DB_PASSWORD}@db/app",
        "RFC 3986, section 3.2.1",
    ),
    other(
        "connection_string",
        "Password in a connection string",
        Medium,
        "Password, Pwd and such between `;`",
        "Server=db;Password=<password>",
        "Microsoft documentation, Connection string syntax; libpq, connection strings",
    ),
    other(
        "command_line",
        "Password on a command line",
        Medium,
        "options of well-known programs: mysql -p, redis-cli -a, sshpass -p, curl -u",
        "curl -u \"$USER:$PASSWORD\"",
        "manual pages of the programs",
    ),
    other(
        "basic_auth",
        "Basic authentication",
        High,
        "base64 of name and password: docker config.json, .npmrc, Authorization: Basic",
        "\"auth\": \"\"",
        "RFC 7617; Docker documentation, docker login",
    ),
    other(
        "bearer_token",
        "Bearer token",
        Medium,
        "what follows Bearer, Token or Basic",
        "Authorization: Bearer <token>",
        "RFC 6750, section 2.1",
    ),
    other(
        "htpasswd",
        "Password file entry",
        Medium,
        "name, `:` and a password hash or password",
        "user:x:1000",
        "Apache HTTP Server documentation, htpasswd; shadow(5)",
    ),
    other(
        "password_file",
        "Password in a file of credentials",
        Medium,
        ".netrc, .pgpass, .my.cnf, ppp, ipsec, FreeRADIUS, SQL and such",
        "machine example.com login user",
        "netrc(5); PostgreSQL documentation, The Password File",
    ),
    other(
        "secret_in_context",
        "What looks like a secret",
        Low,
        "drawn at random, right after a word that says so",
        "token: 0123456789abcdef",
        "none: statistics of the characters",
    ),
    other(
        "terraform_token",
        "Terraform token",
        High,
        "14 characters, .atlasv1. and 60 and more",
        "xxxxxxxxxxxxxx.atlasv1.xxxx",
        "HCP Terraform documentation, API tokens",
    ),
    other(
        "kubeconfig",
        "Credential of a kubeconfig",
        High,
        "token, password and client-key-data of a user",
        "token: <token>",
        "Kubernetes documentation, kubeconfig (v1)",
    ),
    other(
        "jwk_private",
        "Private JSON Web Key",
        High,
        "`d` or `k` beside `kty`",
        "{\"kty\":\"EC\",\"d\":\"…\"}",
        "RFC 7517; RFC 7518, section 6",
    ),
];
