// The audit trail: new records appear while somebody looks at the list.
//
// `data-live="audit"` on <main> switches it on; `data-seq` there is the number of the seal that the page knows.

import { refreshSoon } from "./fragments.js";
import { connect } from "./live.js";

export function startAudit() {
  const main = document.querySelector('[data-live="audit"]');
  if (!main) return;
  let known = Number(main.dataset.seq);
  const onMessage = (news) => {
    if (news.type !== "audit" || news.seq <= known) return;
    known = news.seq;
    refreshSoon();
  };
  connect({ url: "/ws/audit/", poll: "/api/v1/audit/head/", onMessage });
}
