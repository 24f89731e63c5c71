// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Loads the page again if one of its files could not be had, as while a server starts or is
// replaced: a module that is missing leaves a page that never comes alive. No module itself.
(() => {
  const WAIT_MS = 1_000;
  let isWaiting = false;

  const isThere = () => fetch(location.href, { cache: "no-store" }).then((answer) => answer.ok, () => false);

  async function loadAgain() {
    if (isWaiting) return;
    isWaiting = true;
    do await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    while (!(await isThere()));
    location.reload();
  }

  const isPart = ({ tagName, rel }) => tagName === "SCRIPT" || (tagName === "LINK" && rel !== "icon");
  addEventListener("error", ({ target }) => target instanceof Element && isPart(target) && loadAgain(), true);
})();
