"""`python -m project.translations`: the catalogues from the sources; then what is still to be translated."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Bring every catalogue up to date and compile it; 1 while something in them is missing."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from project.translations import catalogues

    messages = catalogues.wanted(ROOT)
    left = 0
    for language in catalogues.LANGUAGES:
        for domain, found in messages.items():
            file = catalogues.path_of(ROOT, language, domain)
            catalogue = catalogues.merged(catalogues.load(ROOT, language, domain), found, language)
            file.parent.mkdir(parents=True, exist_ok=True)
            catalogue.save(str(file))
            file.with_suffix(".mo").write_bytes(catalogues.compiled(catalogue))
            faults = list(catalogues.wrong(catalogue, language))
            left += len(faults)
            sys.stdout.write(
                f"{file.relative_to(ROOT)}: {len(catalogue)} texts, {len(faults)} to see to\n"
            )
            sys.stdout.writelines(f"  {fault}\n" for fault in faults)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
