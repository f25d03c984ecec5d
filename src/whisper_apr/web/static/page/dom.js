// Short forms for the page's elements.

/** Return the element with an id. */
export const $ = (id) => document.getElementById(id);

/** Create an element with properties; children are elements or texts. */
export function create(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

/** Create a drawing of index.html's sprite, by the name after "icon-". It is hidden from screen readers. */
export function createIcon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Replace the drawing inside an element. */
export function setIcon(element, name) {
  element.querySelector("use").setAttribute("href", `#icon-${name}`);
}
