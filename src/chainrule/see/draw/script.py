"""The script in a picture: opens and closes nodes, and pins the numbers of the one clicked.

It reads places from the attributes `data-…` of the file, and writes texts as text. What
`arrange.arrange` does in Python is done here again when a reader opens a node.
"""

from __future__ import annotations

from chainrule.see.draw.arrange import HEADER, LEAST_PIECE, PADDING

__all__ = ["SCRIPT"]

_PROGRAM = r"""
(function () {
  "use strict";
  var root = document.currentScript.closest("svg");
  var NS = "http://www.w3.org/2000/svg";
  var padding = @PADDING@, header = @HEADER@;

  function children(element, name) {
    return Array.prototype.filter.call(element.children, function (child) {
      return child.classList.contains(name);
    });
  }
  function numbers(text) { return text.split(" ").map(Number); }
  function move(element, x, y) {
    element.setAttribute("transform", "translate(" + x + " " + y + ")");
  }

  // the map of a line that gives each interval [start, length, growth] that much more room
  function stretch(intervals) {
    var growing = intervals.filter(function (i) { return i[2] > 0; }).map(function (i) {
      return [i[0], i[0] + i[1], i[2] / i[1]];
    });
    var cuts = [];
    growing.forEach(function (g) { cuts.push(g[0], g[1]); });
    cuts.sort(function (a, b) { return a - b; });
    var pieces = [];
    for (var i = 0; i + 1 < cuts.length; i++) {
      var low = cuts[i], high = cuts[i + 1], more = 0;
      growing.forEach(function (g) {
        if (g[0] <= low && high <= g[1] && g[2] > more) { more = g[2]; }
      });
      if (high > low) { pieces.push([low, high, more]); }
    }
    return function (at) {
      return pieces.reduce(function (to, p) {
        return p[0] < at ? to + (Math.min(at, p[1]) - p[0]) * p[2] : to;
      }, at);
    };
  }

  // places everything of a level; returns its width and height
  function settle(level) {
    var nodes = children(level, "node").map(function (element) {
      var at = numbers(element.dataset.at);
      var node = { element: element, middle: at.slice(0, 2), closed: at.slice(2) };
      node.size = node.closed;
      var opened = children(element, "opened")[0];
      if (opened && element.dataset.open) {
        var inner = children(opened, "level")[0], size = settle(inner);
        var head = children(opened, "header")[0];
        var width = Math.max(size[0] + 2 * padding, Number(opened.dataset.least) || 0);
        var height = size[1] + header + padding;
        var box = opened.querySelector("rect");
        box.setAttribute("x", -width / 2);
        box.setAttribute("y", -height / 2);
        box.setAttribute("width", width);
        box.setAttribute("height", height);
        var texts = head.children;
        texts[0].setAttribute("x", -width / 2 + padding);
        if (texts[1]) { texts[1].setAttribute("x", width / 2 - padding); }
        Array.prototype.forEach.call(texts, function (text) {
          text.setAttribute("y", -height / 2 + 18);
        });
        move(inner, -size[0] / 2, -height / 2 + header);
        node.size = [width, height];
      }
      return node;
    });
    var to = [0, 1].map(function (axis) {
      return stretch(nodes.map(function (n) {
        return [n.middle[axis] - n.closed[axis] / 2, n.closed[axis], n.size[axis] - n.closed[axis]];
      }));
    });
    nodes.forEach(function (n) {
      n.place = [0, 1].map(function (axis) {
        var half = n.closed[axis] / 2;
        return (to[axis](n.middle[axis] - half) + to[axis](n.middle[axis] + half)) / 2;
      });
      move(n.element, n.place[0], n.place[1]);
    });
    Array.prototype.forEach.call(level.children, function (path) {
      if (!path.dataset.route) { return; }
      var ends = numbers(path.dataset.ends), flat = numbers(path.dataset.route), points = [];
      for (var i = 0; i < flat.length; i += 2) { points.push([flat[i], flat[i + 1]]); }
      function meet(point, n) {
        return [0, 1].map(function (axis) {
          return n.place[axis] + (point[axis] - n.middle[axis]) * n.size[axis] / n.closed[axis];
        });
      }
      var last = points.length - 1;
      var moved = points.map(function (p, i) {
        if (i === 0) { return meet(p, nodes[ends[0]]); }
        if (i === last) { return meet(p, nodes[ends[1]]); }
        return [to[0](p[0]), to[1](p[1])];
      });
      // from an end at its node to the first control point
      function join(end, p, q, control) {
        var along = Math.abs(q[0] - p[0]) > Math.abs(q[1] - p[1]) ? 0 : 1;
        var corner = end.slice(), gap = to[along](p[along]) - end[along];
        corner[along] += gap;
        control[1 - along] += end[1 - along] - to[1 - along](p[1 - along]);
        if (@LEAST@ > Math.abs(gap)) { return [end, control]; }
        var pieces = [1 / 3, 2 / 3].map(function (part) {
          var at = end.slice();
          at[along] += gap * part;
          return at;
        });
        return [end, pieces[0], pieces[1], corner, control];
      }
      moved = join(moved[0], points[0], points[1], moved[1]).concat(
        moved.slice(2, -2),
        join(moved[last], points[last], points[last - 1], moved[last - 1]).reverse()
      );
      path.setAttribute("d", "M" + moved[0].join(" ") + "C" +
        moved.slice(1).map(function (p) { return p.join(" "); }).join(" "));
    });
    var size = numbers(level.dataset.size);
    return [to[0](size[0]), to[1](size[1])];
  }

  function refresh() {
    unpin();
    var frame = root.querySelector("g.frame"), fit = numbers(frame.dataset.fit);
    var level = children(frame, "level")[0], size = settle(level);
    var width = Math.max(size[0] + 2 * fit[0], fit[3]), height = size[1] + fit[1] + fit[2];
    move(level, (width - size[0]) / 2, fit[1]);
    root.setAttribute("viewBox", "0 0 " + width + " " + height);
    root.setAttribute("width", width);
    root.setAttribute("height", height);
    var legend = children(frame, "legend")[0];
    if (legend) { move(legend, fit[0], size[1] + fit[1]); }
  }

  var pinned = null;
  function unpin() {
    if (pinned) { pinned.remove(); }
    pinned = null;
  }
  function pin(node) {
    var title = tagged(node, "title")[0];
    if (!title) { return; }
    var lines = title.textContent.split("\n").slice(0, 40), longest = 0;
    var note = document.createElementNS(NS, "g"), box = document.createElementNS(NS, "rect");
    note.appendChild(box);
    lines.forEach(function (line, i) {
      var text = document.createElementNS(NS, "text");
      text.setAttribute("class", "text-text");
      text.setAttribute("x", 10);
      text.setAttribute("y", 20 + 15 * i);
      text.setAttribute("style", "white-space:pre");
      text.textContent = line;
      longest = Math.max(longest, line.length);
      note.appendChild(text);
    });
    var width = 20 + 7.4 * longest, height = 18 + 15 * lines.length;
    box.setAttribute("class", "note");
    box.setAttribute("width", width);
    box.setAttribute("height", height);
    box.setAttribute("rx", 6);
    var face = node.getBoundingClientRect(), all = root.getBoundingClientRect();
    var view = root.viewBox.baseVal, scale = view.width / all.width;
    var x = (face.left - all.left) * scale, y = (face.bottom - all.top) * scale + 6;
    if (y + height > view.height) { y = (face.top - all.top) * scale - height - 6; }
    move(note, Math.max(4, Math.min(x, view.width - width - 4)), Math.max(4, y));
    root.appendChild(note);
    pinned = note;
    pinned.of = node;
  }
  function tagged(element, tag) {
    return Array.prototype.filter.call(element.children, function (child) {
      return child.tagName === tag;
    });
  }

  function act(target) {
    var node = target.closest("g.node");
    var was = pinned ? pinned.of : null;
    unpin();
    if (!node) { return; }
    if (!node.classList.contains("folds")) {
      if (node !== was) { pin(node); }
      return;
    }
    var isOpen = Boolean(node.dataset.open);
    if (isOpen && !target.closest("g.header")) { return; }
    if (isOpen) { delete node.dataset.open; } else { node.dataset.open = "1"; }
    children(node, "face")[0].setAttribute("display", isOpen ? "inline" : "none");
    children(node, "opened")[0].setAttribute("display", isOpen ? "none" : "inline");
    refresh();
  }
  root.addEventListener("click", function (event) { act(event.target); });
  Array.prototype.forEach.call(root.querySelectorAll("g.node.folds"), function (node) {
    node.setAttribute("tabindex", "0");
    node.addEventListener("keydown", function (event) {
      if (event.target !== node) { return; }
      if (event.key === "Enter") {
        act(node.dataset.open ? node.querySelector("g.header") : children(node, "face")[0]);
      }
    });
  });
})();
"""

SCRIPT = (
    _PROGRAM.replace("@PADDING@", f"{PADDING:g}")
    .replace("@HEADER@", f"{HEADER:g}")
    .replace("@LEAST@", f"{LEAST_PIECE:g}")
)
"""The program, without any text of a user's."""
