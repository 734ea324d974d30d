"""The page of all words."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from chains.permissions import Action
from chains.web.guard import needs
from chains.words.glossary import CHAPTERS


@require_safe
@needs(Action.VIEW)
def glossary(request: HttpRequest) -> HttpResponse:
    """Each word in one line, each with an address of its own."""
    return render(request, "web/glossary.html", {"chapters": CHAPTERS})
