// Search without a server. Browsers refuse to start a worker from a file:// page, so this class runs
// the worker's script in a hidden frame instead. Over http(s) the browser's own Worker is used.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.frame = frame;
      this.loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
      const page = frame.contentDocument;
      page.open();
      frame.contentWindow.postMessage = (data) =>
        this.dispatchEvent(new MessageEvent("message", { data }));
      frame.contentWindow.importScripts = () => {};
      page.write(`<script src="${new URL(url, location.href)}"><\/script>`);
      page.close();
    }

    postMessage(data) {
      this.loaded.then(() => {
        const target = this.frame.contentWindow;
        target.dispatchEvent(new target.MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
