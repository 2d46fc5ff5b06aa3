// What cannot be read on a page: names and words that break in tables, small text in figures, code that is cut.
async ([smallest, wide]) => {
  const problems = []
  const article = document.querySelector('.bd-article')
  const say = (what, text) => problems.push(`${what}: ${text.trim().slice(0, 80)}`)
  const count_lines = (range) => new Set([...range.getClientRects()].filter(r => r.width).map(r => Math.round(r.top))).size

  for (const code of article.querySelectorAll(':is(td, th) code'))
    if (code.getClientRects().length > 1) say('a name breaks in a table', code.textContent)

  const height = document.documentElement.scrollHeight
  if (wide && height > 30000) say('a page is too long', `${height} px`)

  for (const table of article.querySelectorAll('table')) {
    const words = document.createTreeWalker(table, NodeFilter.SHOW_TEXT)
    while (words.nextNode())
      for (const word of words.currentNode.data.matchAll(/[^\s\u2010-\u2014/-]+/g)) {
        const range = document.createRange()
        range.setStart(words.currentNode, word.index)
        range.setEnd(words.currentNode, word.index + word[0].length)
        if (!words.currentNode.parentElement.closest('mjx-container') && count_lines(range) > 1)
          say('a word breaks in a table', word[0])
      }
    const scroll = (element) => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX)
    const boxes = [table.parentElement, table.parentElement.parentElement]  // tables of pandas have one box more
    const box = boxes.find(scroll) ?? boxes[0], scrolls = scroll(box)
    if (table.offsetWidth > box.clientWidth + 1 && !scrolls) say('a table leaves its box', table.innerText)
    if (box.getBoundingClientRect().right > innerWidth + 1) say('a table leaves the page', table.innerText)
  }

  for (const image of article.querySelectorAll('.cell_output img')) {
    const file = image.src.split('/').pop()
    if (!image.clientWidth) continue  // in a folded cell
    let [points, font] = [image.naturalWidth / 2, 11]  // a PNG has 144 pixels per inch, and letters of 11 points
    if (file.endsWith('.svg')) {
      const text = await (await fetch(image.src)).text()
      points = Number(text.match(/viewBox="0 0 ([\d.]+) /)[1])
      font = Math.min(...[...text.matchAll(/scale\(([\d.]+) -\1\)/g)].map(match => 100 * match[1]))
    }
    const pixels = font * image.clientWidth / points
    if (pixels < smallest)
      say(`text of ${font} in a figure of ${points.toFixed()} points is ${pixels.toFixed(1)} px high`, image.alt)
    const {left, right} = image.getBoundingClientRect()
    if (left < -1 || right > innerWidth + 1) say('a figure leaves the page', image.alt)
  }

  if (wide)
    for (const code of article.querySelectorAll('.cell_input pre'))
      if (code.scrollWidth > code.clientWidth + 1) say('code is cut', code.textContent)
  return problems
}
