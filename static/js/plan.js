// The choice of base and top: another choice asks for another plan at once.

export function startPlan() {
  document.addEventListener("change", (event) => {
    const form = event.target.closest?.("form[data-autosubmit]");
    if (form) form.requestSubmit();
  });
}
