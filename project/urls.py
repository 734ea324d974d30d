"""Addresses of the whole site."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.i18n import set_language

urlpatterns = [
    path(
        "login/",
        login_not_required(LoginView.as_view(redirect_authenticated_user=True)),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("admin/", admin.site.urls),
    path("api/v1/", include("chains.api.urls")),
    path("", include("chains.web.urls")),
]

handler400 = "chains.web.errors.bad_request"
handler403 = "chains.web.errors.forbidden"
handler404 = "chains.web.errors.not_found"
handler500 = "chains.web.errors.server_error"
