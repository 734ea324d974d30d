"""Django's settings. Everything that differs from site to site is an environment variable."""

import os
import socket
from pathlib import Path
from zoneinfo import available_timezones

from csp.constants import NONE, SELF

from project import env, statics

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = env.var_directory(BASE_DIR)

DEBUG = env.env_bool("STRATA_DEBUG", default=False)
SECRET_KEY = env.secret_key(VAR_DIR)
ALLOWED_HOSTS = env.env_list("STRATA_ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = env.env_list("STRATA_CSRF_TRUSTED_ORIGINS")

# The name of this storage host: a worker takes only the work of domains that name it.
STORAGE_HOST = env.env_str("STRATA_STORAGE_HOST", socket.gethostname())
# Seconds without an answer after which storage is taken to hang, and whoever waits for it is let go.
# Where a worker keeps the files of the lesson; never a storage domain.
LESSON_DIR = env.env_str("STRATA_LESSON_DIR", str(VAR_DIR / "lesson"))
STORAGE_TIMEOUT = env.env_int("STRATA_STORAGE_TIMEOUT", 60, least=1, most=3600)
# Behind a TLS proxy: cookies only over https, and the proxy's word on the scheme is believed.
# The engine of oVirt, a witness beside the storage; "" for none.
ENGINE_URL = env.env_url("STRATA_ENGINE_URL")
ENGINE_USER = env.env_str("STRATA_ENGINE_USER", "")
ENGINE_PASSWORD = env.env_secret("STRATA_ENGINE_PASSWORD", least=1, needed_by="STRATA_ENGINE_URL")
ENGINE_CA_FILE = env.env_str("STRATA_ENGINE_CA_FILE", "")
ENGINE_INSECURE = env.env_bool("STRATA_ENGINE_INSECURE", default=False)
HTTPS = env.env_bool("STRATA_HTTPS", default=False)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "drf_spectacular",
    "procrastinate.contrib.django",
    "rest_framework",
    "rest_framework.authtoken",
    "chains.apps.ChainsConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "chains.web.reader.LanguageMiddleware",
    "chains.web.reader.ZoneMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "chains.web.errors.OwnRefusals",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "chains.web.acting.acting",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chains.web.context.common",
            ],
        },
    },
]

# The commands that need no database leave the variable unset; nothing connects until it is used.
DATABASES = {"default": env.database(os.environ.get("DATABASE_URL", "") or "dbname=strata")}
# Diagrams that were drawn, by their content: all web processes of a machine share them. One takes some
# hundred kilobytes at most, compressed; of too many, a third goes.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": VAR_DIR / "drawings",
        "OPTIONS": {"MAX_ENTRIES": 500},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "chains.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"

# Each in its own words: whoever looks for a language may not read the others.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_AGE = 365 * 86_400
LANGUAGE_COOKIE_SECURE = HTTPS
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.env_choice(
    "STRATA_TIME_ZONE", "UTC", available_timezones(), "give a name like Europe/Prague"
)

# Served straight from the checkout, found at start, and kept by the browser for good.
STATIC_URL = f"static/{statics.version(BASE_DIR / 'static')}/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_IMMUTABLE_FILE_TEST = r"^.+$"

SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["chains.api.permissions.ByRole"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 100,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Strata",
    "DESCRIPTION": "Storage domains, snapshot chains and their merges.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
}

# Whom to tell of merges, and of which states; see chains/merges/notices.py.
NOTIFY_ON = env.env_some("STRATA_NOTIFY_ON", ("succeeded", "failed", "cancelled", "attention"))
PUBLIC_URL = env.env_url("STRATA_PUBLIC_URL").rstrip("/")
WEBHOOK_URL = env.env_url("STRATA_WEBHOOK_URL")
WEBHOOK_SECRET = env.env_secret("STRATA_WEBHOOK_SECRET", least=16, needed_by="STRATA_WEBHOOK_URL")
NOTIFY_EMAIL = env.env_addresses("STRATA_NOTIFY_EMAIL")
DEFAULT_FROM_EMAIL = env.env_address("STRATA_EMAIL_FROM", f"strata@{socket.gethostname()}")
EMAIL_HOST = env.env_str("STRATA_SMTP_HOST", "localhost")
_SMTP_TLS = env.env_choice(
    "STRATA_SMTP_TLS", "no", ("no", "starttls", "tls"), "say no, starttls or tls"
)
EMAIL_USE_TLS = _SMTP_TLS == "starttls"
EMAIL_USE_SSL = _SMTP_TLS == "tls"
EMAIL_PORT = env.env_int(
    "STRATA_SMTP_PORT", {"no": 25, "starttls": 587, "tls": 465}[_SMTP_TLS], least=1, most=65535
)
EMAIL_HOST_USER = env.env_str("STRATA_SMTP_USER", "")
EMAIL_HOST_PASSWORD = env.env_secret("STRATA_SMTP_PASSWORD", least=1, needed_by="STRATA_SMTP_USER")
# Longer than a webhook's: some relays look at a message before they take it, and would get it twice.
EMAIL_TIMEOUT = 30

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "chains": {
            "level": env.env_choice(
                "STRATA_LOG_LEVEL", "INFO", _LEVELS, "say " + ", ".join(_LEVELS)
            )
        }
    },
}
